//! What a recipe or a command calls a model.

use std::path::PathBuf;

use thiserror::Error;

use super::embedded::{EMBEDDED, EmbeddedModel, is_misnamed, meant};
use super::names::{HOSTS, is_repository, is_revision};
use super::table::{self, FileSet, Model, ModelKind};

/// Why a name does not lead to a model on this machine.
#[derive(Debug, Error)]
pub enum ResolveError {
    /// The model is not on this machine, but can be downloaded.
    #[error(
        "`{name}` is not on this machine: `phantasia models fetch {name}` downloads it{size}; or give a folder or file that holds it{instead}{cached}"
    )]
    Missing {
        /// The name.
        name: String,
        /// Its size, or a similar name, as part of the sentence.
        size: String,
        /// The embedded model that can take its place, as part of the sentence.
        instead: &'static str,
        /// The cached snapshots of its repository, as part of the sentence.
        cached: String,
    },
    /// Nothing has this name.
    #[error(
        "there is no model `{name}`{nearest}: it is neither a folder nor a file, nor a known model (`phantasia models list`), nor the name of a repository such as `openai/clip-vit-base-patch32`, optionally followed by `@` and a revision"
    )]
    Unknown {
        /// The name.
        name: String,
        /// The nearest known name, as part of the sentence.
        nearest: String,
    },
    /// The architecture is known, but not with this tag.
    #[error("there is no model `{name}`{nearest}: `{architecture}` is known as {tags}")]
    UnknownTag {
        /// The name.
        name: String,
        /// The part before the slash.
        architecture: String,
        /// The nearest known name, as part of the sentence.
        nearest: String,
        /// The names it is known by, each in backquotes.
        tags: String,
    },
    /// The name begins like that of the embedded CLIP or a part of it.
    #[error(
        "the embedded CLIP has no part `{name}`{}: `{}` and `{}` can be named alone, and `{}` is all of it, in small letters and without a revision",
        meant(name).map_or_else(String::new, |name| format!(" (did you mean `{name}`?)")),
        EmbeddedModel::Transformer.name(),
        EmbeddedModel::ResNet.name(),
        EmbeddedModel::Whole.name()
    )]
    Embedded {
        /// The name.
        name: String,
    },
    /// It is part of the program, but of another kind.
    #[error(
        "`{name}` is part of the program, but cannot be used here, where a model of the kind `{}` is named: `{}` is a CLIP, and \
         another model where a generator of `kind: vqgan`, `latent`, `gan` or `diffusion` names its model; `phantasia models list` lists others",
        kind.name(),
        EmbeddedModel::Whole.name()
    )]
    OtherKind {
        /// The name.
        name: String,
        /// The kind that was asked for.
        kind: ModelKind,
    },
    /// It is known, but of another kind.
    #[error(
        "`{name}` is {}, for {}, and {} is needed here: `phantasia models list` shows those that are known",
        found.description()[0],
        found.description()[1],
        wanted.description()[0]
    )]
    WrongKind {
        /// The name.
        name: String,
        /// What it is.
        found: ModelKind,
        /// The kind that was asked for.
        wanted: ModelKind,
    },
    /// It is known, but its family is not supported.
    #[error(
        "`{name}` is known, but not supported yet, and is not downloaded (it is of the family `{family}`); `phantasia models list` shows models that are"
    )]
    Unsupported {
        /// The name.
        name: String,
        /// The family of its architecture.
        family: String,
    },
    /// The text after the `@` is not a valid revision.
    #[error(
        "`{revision}` in `{name}` is not a valid revision: expected a branch, a tag, a pull request (`refs/pr/15`) or a commit after the `@`"
    )]
    Revision {
        /// The name.
        name: String,
        /// The text after the `@`.
        revision: String,
    },
}

/// A model as a recipe or a command names it. [`resolve`](super::resolve) finds its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelRef {
    /// The CLIP that is part of the program, or a part of it.
    Embedded(EmbeddedModel),
    /// A folder or a file that exists.
    Path(PathBuf),
    /// A model on the hub, which the cache may hold.
    Hub(HubModel),
}

impl ModelRef {
    /// Refuses what is known to be no model of a kind. `name` is what it was called.
    ///
    /// # Errors
    /// [`ResolveError::WrongKind`], or [`ResolveError::OtherKind`] for what is part of the program.
    pub fn check_kind(&self, name: &str, wanted: ModelKind) -> Result<(), ResolveError> {
        let name = name.to_owned();
        match self {
            Self::Embedded(EmbeddedModel::Whole) if wanted != ModelKind::Aesthetic => Ok(()),
            Self::Embedded(_) if wanted != ModelKind::Clip => {
                Err(ResolveError::OtherKind { name, kind: wanted })
            }
            Self::Hub(hub) => match hub.model.map(|model| model.kind) {
                Some(found) if !wanted.reads(found) => Err(ResolveError::WrongKind {
                    name,
                    found,
                    wanted,
                }),
                _ => Ok(()),
            },
            Self::Embedded(_) | Self::Path(_) => Ok(()),
        }
    }

    /// Parses the name of an [`EmbeddedModel`], the path of an existing folder or file, or a [`HubModel`].
    ///
    /// # Errors
    /// If the name is none of them.
    pub fn parse(name: &str) -> Result<Self, ResolveError> {
        if let Some(model) = EmbeddedModel::parse(name) {
            return Ok(Self::Embedded(model));
        }
        let path = PathBuf::from(name);
        if path.exists() {
            return Ok(Self::Path(path));
        }
        HubModel::parse(name).map(Self::Hub)
    }
}

/// A known model or a repository on the hub, at the default or a given revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubModel {
    /// The repository, `owner/name`.
    pub repository: String,
    /// The branch, tag, pull request (`refs/pr/15`) or commit after the `@`.
    pub revision: Option<String>,
    /// Its entry in the table of known models.
    pub model: Option<&'static Model>,
}

impl HubModel {
    /// Parses `NAME` or `NAME@REVISION`. A trailing slash and open_clip's prefix `hf-hub:` are ignored; the URL of a repository's page
    /// (`https://huggingface.co/OWNER/NAME`, optionally with `/tree/REVISION`) works too.
    ///
    /// # Errors
    /// If NAME is neither a known model nor a repository's name, begins like that of a part of the embedded CLIP, or REVISION is not valid.
    pub fn parse(typed: &str) -> Result<Self, ResolveError> {
        if is_misnamed(typed) {
            let name = typed.to_owned();
            return Err(ResolveError::Embedded { name });
        }
        let page = from_page(typed);
        let name = page.as_deref().unwrap_or(typed);
        let name = name.strip_prefix("hf-hub:").unwrap_or(name);
        let name = name.trim_end_matches('/');
        if let Some(found) = Self::named(name) {
            found.check_tag()?;
            return Ok(found);
        }
        // known names may contain an `@` (`ViT-L/14@336px`), and so may branches: the longest name wins
        let split = name.rmatch_indices('@').find_map(|(at, _)| {
            let found = Self::named(name[..at].trim_end_matches('/'))?;
            Some((found, &name[at + 1..]))
        });
        let Some((mut found, revision)) = split else {
            return Err(ResolveError::Unknown {
                name: typed.to_owned(),
                nearest: table::nearest(name, &[EMBEDDED]),
            });
        };
        if !is_revision(revision) {
            return Err(ResolveError::Revision {
                name: typed.to_owned(),
                revision: revision.to_owned(),
            });
        }
        found.check_tag()?;
        found.revision = Some(revision.to_owned());
        Ok(found)
    }

    /// Refuses a repository whose owner is called like an architecture: a tag that is not known.
    fn check_tag(&self) -> Result<(), ResolveError> {
        let (Some((architecture, _)), None) = (self.repository.split_once('/'), self.model) else {
            return Ok(());
        };
        let known = table::with_tags(architecture);
        if known.is_empty() {
            return Ok(());
        }
        Err(ResolveError::UnknownTag {
            name: self.repository.clone(),
            architecture: architecture.to_owned(),
            nearest: table::nearest(&self.repository, &[]),
            tags: format!("`{}`", known.join("`, `")),
        })
    }

    fn named(name: &str) -> Option<Self> {
        let model = table::known(name);
        let repository = model.map_or(name, |model| &model.repository);
        is_repository(repository).then(|| Self {
            repository: repository.to_owned(),
            revision: None,
            model,
        })
    }

    /// Refuses a known model that this program cannot use. `name` is what it was called.
    ///
    /// # Errors
    /// [`ResolveError::Unsupported`].
    pub fn check_supported(&self, name: &str) -> Result<(), ResolveError> {
        match self.model {
            Some(model) if !model.supported => Err(ResolveError::Unsupported {
                name: name.to_owned(),
                family: model.family().to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// The revisions that are tried, in order.
    pub fn revisions(&self) -> Vec<&str> {
        match (&self.revision, self.model) {
            (Some(revision), _) => vec![revision],
            (None, Some(model)) => model.revisions.iter().map(String::as_str).collect(),
            (None, None) => vec!["main"],
        }
    }

    /// The layouts in which the repository may hold it, in the order in which they are tried.
    pub(super) fn layouts(&self) -> Vec<&'static FileSet> {
        match self.model {
            Some(model) => model.layouts().collect(),
            None => table::any_layout().collect(),
        }
    }
}

/// The name that the URL of a repository's page on the hub refers to.
fn from_page(address: &str) -> Option<String> {
    let rest = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"))?;
    let (host, path) = rest.split_once('/')?;
    if !HOSTS.contains(&host.to_ascii_lowercase().as_str()) {
        return None;
    }
    let path = path.split(['?', '#']).next()?.trim_end_matches('/');
    match path.split_once("/tree/") {
        Some((repository, revision)) => {
            // a revision such as refs/pr/15 is percent-encoded there
            Some(format!("{repository}@{}", revision.replace("%2F", "/")))
        }
        None => Some(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parsed(name: &str) -> (String, Option<String>) {
        let found = HubModel::parse(name).expect("a reference");
        (found.repository, found.revision)
    }

    #[test]
    fn an_unknown_tag_is_told_the_known_ones() {
        let error = HubModel::parse("vit-b-16-siglip2/nonsense").expect_err("no such tag");
        let known = "known as `ViT-B-16-SigLIP2/webli`";
        assert!(error.to_string().contains(known), "{error}");
        for repository in ["openai/else", "laion/else", "timm/else"] {
            HubModel::parse(repository).expect("a repository");
        }
    }

    #[test]
    fn names_revisions_and_slashes_are_taken_apart() {
        let base = "openai/clip-vit-base-patch32";
        for (name, repository, revision) in [
            ("a/b", "a/b", None),
            ("a/b/", "a/b", None),
            ("a/b//", "a/b", None),
            ("hf-hub:a/b", "a/b", None),
            ("a/b@v1.0", "a/b", Some("v1.0")),
            ("a/b@refs/pr/15", "a/b", Some("refs/pr/15")),
            ("a/b@main/", "a/b", Some("main")),
            ("a/b/@main", "a/b", Some("main")),
            ("a/b@x@y", "a/b", Some("x@y")),
            ("hf-hub:a/b@main", "a/b", Some("main")),
            (
                "RN50/openai@main",
                "timm/resnet50_clip.openai",
                Some("main"),
            ),
            ("https://huggingface.co/a/b", "a/b", None),
            ("https://HF.co/a/b/?library=open_clip", "a/b", None),
            ("https://huggingface.co/a/b/tree/main", "a/b", Some("main")),
            (
                "https://huggingface.co/a/b/tree/refs%2Fpr%2F1",
                "a/b",
                Some("refs/pr/1"),
            ),
            ("ViT-B/32", base, None),
            ("ViT-B/32@main", base, Some("main")),
            ("ViT-L/14@336px", "openai/clip-vit-large-patch14-336", None),
            (
                "ViT-L/14@336px@main",
                "openai/clip-vit-large-patch14-336",
                Some("main"),
            ),
            (
                "wikiart@main",
                "johnowhitaker/sd-class-wikiart-from-bedrooms",
                Some("main"),
            ),
        ] {
            assert_eq!(
                parsed(name),
                (repository.to_owned(), revision.map(str::to_owned)),
                "{name}"
            );
        }
    }

    #[test]
    fn a_revision_that_leads_elsewhere_is_refused() {
        for revision in [
            "", "..", "../x", "a/../b", "/a", "a//b", ".hidden", "a\\b", "a b", "a:b", "a?b",
            "a\nb", "%2e%2e", "~", "a^",
        ] {
            let error = HubModel::parse(&format!("a/b@{revision}")).expect_err("no revision");
            assert!(
                matches!(
                    error,
                    ResolveError::Revision { .. } | ResolveError::Unknown { .. }
                ),
                "{revision:?}: {error}"
            );
        }
        let error = HubModel::parse("a/b@../x")
            .expect_err("no revision")
            .to_string();
        assert!(
            error.contains("`../x`") && error.contains("refs/pr/15"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_name_is_unknown() {
        for name in [
            "",
            "/",
            "@",
            "@main",
            "a",
            "a@main",
            "../a",
            "a/b/c",
            "a/b c",
            "./a@b",
            "https://huggingface.co/",
            "https://elsewhere.example/a/b",
        ] {
            assert!(
                matches!(HubModel::parse(name), Err(ResolveError::Unknown { .. })),
                "{name:?}"
            );
        }
    }

    #[test]
    fn what_is_no_part_of_the_embedded_clip_is_told_the_parts() {
        for name in [
            "embedded/",
            "embedded/things",
            "embedded/resnet@main",
            "Embedded/ResNet",
            "embedded@main",
        ] {
            let error = ModelRef::parse(name).expect_err(name).to_string();
            for part in [name, "`embedded/transformer`", "`embedded/resnet`"] {
                assert!(error.contains(part), "{error}");
            }
        }
        HubModel::parse("hf-hub:embedded/things").expect("a repository");
    }

    #[test]
    fn known_models_are_read_where_their_kind_is_named() {
        use ModelKind::{Aesthetic, Clip, Diffusion, Gan, Latent, Vqgan};
        for (name, kinds) in [
            ("ViT-B-32/openai", &[Clip][..]),
            ("biggan-deep-128", &[Gan]),
            ("sd-turbo@main", &[Diffusion, Latent]),
            ("f16_1024", &[Vqgan, Latent]),
            ("taesd", &[Latent]),
            ("laion-aesthetic", &[Aesthetic]),
            ("embedded/resnet", &[Clip]),
            ("embedded", &[Clip, Vqgan, Latent, Gan, Diffusion]),
            ("a/b", &[Clip, Vqgan, Latent, Gan, Diffusion, Aesthetic]),
        ] {
            let model = ModelRef::parse(name).expect(name);
            for kind in [Clip, Vqgan, Latent, Gan, Diffusion, Aesthetic] {
                match model.check_kind(name, kind) {
                    Ok(()) => assert!(kinds.contains(&kind), "{name} as {kind:?}"),
                    Err(error) => {
                        assert!(!kinds.contains(&kind), "{error}");
                        assert!(error.to_string().contains(name), "{error}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_known_model_that_is_not_supported_is_refused_by_its_name() {
        let entry = |supported: bool| -> &'static Model {
            let json = serde_json::json!({
                "name": "new/one", "repository": "a/b", "kind": "clip", "family": "newest", "layouts": ["open_clip"],
                "supported": supported, "licence": "not stated", "about": "a test",
            });
            Box::leak(Box::new(serde_json::from_value(json).expect("an entry")))
        };
        let hub = |supported: bool| HubModel {
            repository: "a/b".to_owned(),
            revision: None,
            model: Some(entry(supported)),
        };
        hub(true).check_supported("new/one").expect("supported");
        let error = hub(false)
            .check_supported("hf-hub:a/b")
            .expect_err("not supported");
        let error = error.to_string();
        for part in ["`hf-hub:a/b`", "not supported yet", "`newest`"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_repository_outside_the_table_is_looked_for_on_main() {
        let found = HubModel::parse("a/b").expect("a reference");
        assert_eq!((found.revisions(), found.model), (vec!["main"], None));
    }
}
