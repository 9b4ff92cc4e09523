//! The syntax of names on the hub: repositories, revisions, addresses.

/// Hosts of the Hugging Face hub.
pub(super) const HOSTS: &[&str] = &["huggingface.co", "hf.co"];

/// Whether a text is `owner/name`, of the characters that the hub allows.
pub(super) fn is_repository(name: &str) -> bool {
    let allowed = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.contains("--")
            && (part.chars()).all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    name.split_once('/')
        .is_some_and(|(owner, model)| allowed(owner) && allowed(model))
}

/// Whether a text is a valid branch, tag, pull request or commit: git's rules, restricted to characters that every file system allows.
pub(super) fn is_revision(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && !part.ends_with('.') && !part.contains("..")
    };
    let allowed = |c: char| c.is_alphanumeric() || "-_./+=@#!,()".contains(c);
    text.len() <= 200 && text.chars().all(allowed) && text.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_two_plain_names() {
        for (name, good) in [
            ("a/b", true),
            ("laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", true),
            ("a", false),
            ("a/b/c", false),
            ("../b", false),
            ("a/", false),
            ("a/.b", false),
            ("a/b c", false),
        ] {
            assert_eq!(is_repository(name), good, "{name}");
        }
    }
}
