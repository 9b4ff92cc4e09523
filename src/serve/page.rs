//! The page's files, which are parts of the program.

/// A file: its path, media type and content.
type File = (&'static str, &'static str, &'static str);

const FILES: [File; 8] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("page/index.html"),
    ),
    (
        "/style.css",
        "text/css; charset=utf-8",
        include_str!("page/style.css"),
    ),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/main.js", SCRIPT, include_str!("page/main.js")),
    ("/link.js", SCRIPT, include_str!("page/link.js")),
    ("/picture.js", SCRIPT, include_str!("page/picture.js")),
    ("/controls.js", SCRIPT, include_str!("page/controls.js")),
    ("/gallery.js", SCRIPT, include_str!("page/gallery.js")),
];
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The file at a path: its media type and content.
pub(super) fn file(path: &str) -> Option<(&'static str, &'static str)> {
    let found = FILES.iter().find(|(name, ..)| *name == path);
    found.map(|(_, media_type, content)| (*media_type, *content))
}
