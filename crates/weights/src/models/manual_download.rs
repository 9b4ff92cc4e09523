//! Advice for when the hub cannot be reached.

use std::path::Path;

use super::files::is_index;
use super::request::FetchRequest;
use super::table::{FileSet, ModelKind};

/// Describes how to get a model's files anyway: a proxy, a mirror, a manual download, a copy of another machine's cache. `proxy` describes
/// the proxy in use, `cache` is the cache's folder.
pub(super) fn advice(
    request: &FetchRequest,
    endpoint: &str,
    proxy: &str,
    cache: Option<&Path>,
) -> String {
    let FetchRequest {
        repository,
        revisions,
        layouts,
        ..
    } = request;
    let revision = revisions.first().map_or("main", String::as_str);
    let single = matches!(layouts.as_slice(), [files] if files.is_single());
    let (holder, place) = if single {
        ("FILE", "to this machine")
    } else {
        ("FOLDER", "into one folder, keeping subfolders")
    };
    let files = if layouts.len() > SPELLED_OUT {
        UNKNOWN.to_owned()
    } else {
        let each: Vec<String> = layouts.iter().map(listed).collect();
        each.join(", or ")
    };
    let tokenizer = match (&request.shared_tokenizer, single) {
        (None, _) => String::new(),
        (Some(other), true) => format!(" and tokenizer.json of {other}"),
        (Some(other), false) => format!(" and, if it has none, tokenizer.json of {other}"),
    };
    let used = match request.kind {
        Some(ModelKind::Clip) | None => {
            format!("`model: {holder}` in the recipe or `--clip {holder}`")
        }
        Some(ModelKind::Aesthetic) => {
            format!(
                "`terms: {{ aesthetic: {{ model: {holder} }} }}` in the recipe or `--aesthetic={holder}`"
            )
        }
        Some(ModelKind::Vqgan | ModelKind::Latent | ModelKind::Gan | ModelKind::Diffusion) => {
            format!("`model: {holder}` in the recipe's generator")
        }
    };
    let machine = cache.map_or(String::new(), |cache| {
        let name = repository.replace('/', "--");
        format!(
            "\n  - from another machine: copy models--{name} from its cache into {}",
            cache.display()
        )
    });
    format!(
        "what you can do:\n  \
         - proxy: set HTTPS_PROXY or ALL_PROXY; NO_PROXY lists hosts to reach directly ({proxy})\n  \
         - mirror: set HF_ENDPOINT (now {endpoint})\n  \
         - by hand: from {endpoint}/{repository}/tree/{revision} download {files}{tokenizer} {place}, and use {used}{machine}"
    )
}

/// A model with more layouts than this is not in the table; its files are described in general.
const SPELLED_OUT: usize = 2;
/// The files of a repository with an unknown layout.
const UNKNOWN: &str = "its config.json or open_clip_config.json, its weights (.safetensors, or else .bin), tokenizer.json, preprocessor_config.json or \
    processor_config.json, and of a diffusion model scheduler_config.json";

/// A layout's files as a phrase.
fn listed(files: &FileSet) -> String {
    // an index is useless without its shards
    let whole: Vec<&str> = (files.weights.iter())
        .map(String::as_str)
        .filter(|name| !is_index(name))
        .collect();
    let mut text = whole.join(" or ");
    if !files.required.is_empty() {
        text = format!("{} and {text}", files.required.join(", "));
    }
    if !files.optional.is_empty() {
        text.push_str(&format!(", and if present {}", files.optional.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn advice_on(name: &str) -> String {
        let request = FetchRequest::parse(name).expect("a known name");
        advice(
            &request,
            "https://hub",
            "none is set",
            Some(Path::new("/cache")),
        )
    }

    #[test]
    fn the_files_and_where_to_put_them_are_named() {
        let text = advice_on("openai/clip-vit-base-patch32");
        for part in [
            "HTTPS_PROXY",
            "ALL_PROXY",
            "NO_PROXY",
            "HF_ENDPOINT",
            "https://hub/openai/clip-vit-base-patch32/tree/main",
            "config.json and model.safetensors or model.fp16.safetensors or pytorch_model.bin",
            "tokenizer.json",
            "`model: FOLDER`",
            "`--clip FOLDER`",
            "models--openai--clip-vit-base-patch32 from its cache into /cache",
        ] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }

    #[test]
    fn a_revision_a_single_file_and_a_shared_tokenizer_are_told() {
        let text = advice_on("me/it@v2");
        assert!(text.contains("me/it/tree/v2") && text.contains("open_clip_config.json"));
        let text = advice_on("hpsv2.1");
        assert!(
            text.contains("HPS_v2.1_compressed.pt and tokenizer.json of openai")
                && text.contains("`model: FILE`")
        );
        assert!(advice_on("laion-aesthetic").contains("`--aesthetic=FILE`"));
        assert!(!advice_on("f16_1024").contains("--clip"));
        assert!(
            advice_on("RN50/openai").contains("tokenizer.json of openai/clip-vit-base-patch32")
        );
    }
}
