//! What the display is like, where the windowing library does not say.

/// A display.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Display {
    /// Real pixels to a logical one.
    pub scale: f32,
    /// Width and height in pixels, if they are known.
    pub size: Option<(usize, usize)>,
}

/// Scales that are believed.
const SCALES: (f32, f32) = (0.5, 4.0);

impl Display {
    /// The display that a window would open on. `PHANTASIA_SCALE` overrules what the desktop says of its scale.
    pub fn current() -> Self {
        let display = desktop();
        let asked = std::env::var("PHANTASIA_SCALE").ok();
        Self {
            scale: believed(asked.as_deref()).unwrap_or(display.scale),
            ..display
        }
    }

    /// Whether the display accepts connections. Without X11 this cannot be known beforehand, and is `true`.
    pub fn answers() -> bool {
        answers()
    }
}

/// A scale as it is written, if it makes sense.
fn believed(text: Option<&str>) -> Option<f32> {
    (text?.trim().parse().ok()).filter(|scale| (SCALES.0..=SCALES.1).contains(scale))
}

/// Desktops keep the resolution that text is drawn for in the X server's resources; 96 is plain.
#[cfg(all(unix, not(target_os = "macos")))]
fn desktop() -> Display {
    use x11rb::connection::Connection;
    let plain = Display {
        scale: 1.0,
        size: None,
    };
    let Ok((connection, number)) = x11rb::connect(None) else {
        return plain;
    };
    let size = (connection.setup().roots.get(number)).map(|screen| {
        (
            screen.width_in_pixels.into(),
            screen.height_in_pixels.into(),
        )
    });
    let dpi = x11rb::resource_manager::new_from_default(&connection)
        .ok()
        .and_then(|resources| resources.get_value::<f32>("Xft.dpi", "").ok().flatten());
    let scale = dpi.map_or(1.0, |dpi| (dpi / 96.0).clamp(SCALES.0, SCALES.1));
    Display { scale, size }
}

#[cfg(all(unix, not(target_os = "macos")))]
fn answers() -> bool {
    x11rb::connect(None).is_ok()
}

#[cfg(not(all(unix, not(target_os = "macos"))))]
fn answers() -> bool {
    true
}

/// Elsewhere the system enlarges windows by itself.
#[cfg(not(all(unix, not(target_os = "macos"))))]
fn desktop() -> Display {
    Display {
        scale: 1.0,
        size: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_that_makes_no_sense_is_not_believed() {
        assert_eq!(believed(Some(" 1.5 ")), Some(1.5));
        for nonsense in [
            None,
            Some(""),
            Some("big"),
            Some("-1"),
            Some("NaN"),
            Some("100"),
        ] {
            assert_eq!(believed(nonsense), None, "{nonsense:?}");
        }
    }
}
