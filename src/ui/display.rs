//! Properties of the display that the windowing library does not report.

/// A display.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Display {
    /// Real pixels to a logical one.
    pub scale: f32,
    /// Width and height in pixels, if known.
    pub size: Option<(usize, usize)>,
}

/// The smallest and the largest plausible scale.
const SCALES: (f32, f32) = (0.5, 4.0);

const PLAIN: Display = Display {
    scale: 1.0,
    size: None,
};

impl Display {
    /// The display that a window would open on. `PHANTASIA_SCALE` overrules what the desktop says of its scale.
    pub fn current() -> Self {
        let display = Self::connect().unwrap_or(PLAIN);
        let variable = std::env::var("PHANTASIA_SCALE").ok();
        Self {
            scale: plausible(variable.as_deref()).unwrap_or(display.scale),
            ..display
        }
    }

    /// The display as the desktop describes it: `None` if it accepts no connection. Desktops keep the resolution that text is drawn for in
    /// the X server's resources; 96 is plain.
    #[cfg(all(unix, not(target_os = "macos")))]
    pub fn connect() -> Option<Self> {
        use x11rb::connection::Connection;
        let (connection, number) = x11rb::connect(None).ok()?;
        let screen = connection.setup().roots.get(number);
        let sides = screen.map(|screen| [screen.width_in_pixels, screen.height_in_pixels]);
        let size = sides.map(|sides| sides.map(usize::from).into());
        let dpi = x11rb::resource_manager::new_from_default(&connection)
            .ok()
            .and_then(|resources| resources.get_value::<f32>("Xft.dpi", "").ok().flatten());
        let scale = dpi.map_or(1.0, |dpi| (dpi / 96.0).clamp(SCALES.0, SCALES.1));
        Some(Self { scale, size })
    }

    /// The display. Without X11 the system enlarges windows by itself, and whether it accepts connections cannot be known beforehand.
    #[cfg(not(all(unix, not(target_os = "macos"))))]
    pub fn connect() -> Option<Self> {
        Some(PLAIN)
    }
}

/// A scale as it is written, if it is plausible.
fn plausible(text: Option<&str>) -> Option<f32> {
    (text?.trim().parse().ok()).filter(|scale| (SCALES.0..=SCALES.1).contains(scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_that_makes_no_sense_is_not_plausible() {
        assert_eq!(plausible(Some(" 1.5 ")), Some(1.5));
        for nonsense in [
            None,
            Some(""),
            Some("big"),
            Some("-1"),
            Some("NaN"),
            Some("100"),
        ] {
            assert_eq!(plausible(nonsense), None, "{nonsense:?}");
        }
    }
}
