//! Generators: what turns a gradient of an image into the next image.
