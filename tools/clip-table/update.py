#!/usr/bin/env python3
"""Brings the table of known models up to date with open_clip's registry.

    tools/clip-table/update.py

Writes crates/weights/src/models/models.json, in place, and architectures.json beside it. Needs open_clip 3.3 with its dependencies, and no network.

An entry of models.json that has one of the registry's names keeps what is written by hand: its own name and its other aliases, repository, layouts,
revisions, size, licence, description. Names of the registry that no entry has are added as new entries, whose licence is not stated and whose
size in bytes is unknown. `supported` is kept; of a new entry it is false until check.py has passed on it.
"""

import json
from collections import OrderedDict
from pathlib import Path

import registry

MODELS = Path(__file__).resolve().parents[2] / "crates/weights/src/models"
# of what is new, the entries that the plain list shows
COMMON = {
    "ViT-B-16-SigLIP2/webli",
    "ViT-L-16-SigLIP2-256/webli",
    "ViT-SO400M-14-SigLIP2/webli",
    "EVA02-B-16/merged2b_s8b_b131k",
    "EVA02-L-14/merged2b_s4b_b131k",
    "PE-Core-B-16/meta",
    "PE-Core-L-14-336/meta",
    "MobileCLIP2-S0/dfndr2b",
    "MobileCLIP2-B/dfndr2b",
    "convnext_base_w/laion2b_s13b_b82k",
    "ViT-L-14-CLIPA/datacomp1b",
    "ViT-H-14-worldwide/metaclip2_worldwide",
}
ORDER = (
    "comment", "name", "repository", "aliases", "kind", "family", "architecture", "own_configuration", "revisions", "layouts", "shared_tokenizer",
    "tokenizer", "quick_gelu", "pads", "preprocess", "supported", "common", "megabytes", "parameters", "licence", "about",
)


def names(model):
    return [model["name"], *model.get("aliases", [])]


def main():
    path = MODELS / "models.json"
    table = json.loads(path.read_text(), object_pairs_hook=OrderedDict)
    models = table["models"]
    by_name = {name: model for model in models for name in names(model)}
    sizes = {}
    added = []
    entries = registry.entries()
    repositories = [entry["repository"] for entry in entries]
    for entry in entries:
        pairs = names(entry)
        known = {id(by_name[pair]): by_name[pair] for pair in pairs if pair in by_name}
        if len(known) > 1:
            raise SystemExit(f"{pairs} are several models: {[model['name'] for model in known.values()]}")
        model = next(iter(known.values()), None)
        if model is None:
            model = OrderedDict(
                name=entry["name"],
                repository=entry["repository"],
                kind="clip",
                layouts=[entry["file"].split(".")[0] or "open_clip_weights"],
                shared_tokenizer=True,
                supported=False,
                common=entry["name"] in COMMON,
                licence="not stated",
                about=entry["about"],
            )
            added.append(model)
        model["aliases"] = names(model)[1:] + [pair for pair in pairs if pair not in names(model)]
        if not model["aliases"]:
            del model["aliases"]
        if model.get("common", True):
            model.pop("common", None)
        model["family"] = entry["family"]
        model["architecture"] = entry["architecture"]
        # of two architectures in one repository, its configuration is that of the one that it is called by
        if repositories.count(entry["repository"]) > 1 and not entry["repository"].endswith(entry["architecture"]):
            model["own_configuration"] = True
        if model.get("quick_gelu") and not entry["quick_gelu"]:
            raise SystemExit(f"{model['name']}: its nonlinearity is another in the registry")
        if entry["quick_gelu"]:
            model["quick_gelu"] = True
        # of transformers' layout, the preprocessing is that library's
        if entry["preprocess"] and "transformers" not in model["layouts"]:
            model["preprocess"] = entry["preprocess"]
        if entry["tokenizer"]:
            model["tokenizer"] = entry["tokenizer"]
        if entry["architecture"] not in sizes:
            sizes[entry["architecture"]] = registry.parameters(entry["architecture"])
        model["parameters"] = sizes[entry["architecture"]]
        model.setdefault("supported", False)
    for model in models:
        if model["kind"] == "clip":
            model.setdefault("family", "vit")
    # the new ones follow the CLIPs
    last = max(index for index, model in enumerate(models) if model["kind"] == "clip")
    models[last + 1 : last + 1] = added
    table["models"] = [OrderedDict(sorted(model.items(), key=lambda item: ORDER.index(item[0]))) for model in models]
    write(path, table)
    architectures = OrderedDict((entry["architecture"], registry.configuration(entry["architecture"])) for entry in entries)
    write_lines(MODELS / "architectures.json", "{", ((json.dumps(name) + ": ", config) for name, config in architectures.items()), "}")
    pairs = sum(len(names(entry)) for entry in entries)
    print(f"{pairs} names of {len(entries)} models in {len(set(repositories))} repositories; {len(added)} entries are new")


def write_lines(path, start, lines, end):
    path.write_text(f"{start}\n" + ",\n".join(f"  {name}{json.dumps(value, ensure_ascii=False)}" for name, value in lines) + f"\n{end}\n")


def write(path, table):
    """One line a model; what comes before the models stays as it is."""
    before, _ = path.read_text().split('  "models": [\n')
    lines = ",\n".join("    " + json.dumps(model, ensure_ascii=False) for model in table["models"])
    path.write_text(f'{before}  "models": [\n{lines}\n  ]\n}}\n')


if __name__ == "__main__":
    main()
