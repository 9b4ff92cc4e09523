//! Phantasia: CLIP-guided generative art.
