"""Small tokenizers of the kinds that open_clip's CLIPs have, with vocabularies made from a few sentences.

Each is written as `tokenizer.json` with the files beside it, and read by open_clip through transformers; CLIP's own kind is read by open_clip's own
code, with the same words.
"""

import gzip
import json
import tempfile
from pathlib import Path

import open_clip
from open_clip.tokenizer import SimpleTokenizer, default_bpe
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    "a photo of a red apple on a wooden table. two cats sleep in the house, it's night and the stars shine over the sea.",
    "sunset over the sea, sunrise over the mountains. a painting of a boat. a drawing of a red car. one bird in the blue sky.",
]
MERGES = 150


def clip_merges():
    return gzip.open(default_bpe()).read().decode("utf-8").split("\n")[1 : 1 + MERGES]


def clip(text):
    """open_clip's own tokenizer, with the first of its merges."""
    with tempfile.NamedTemporaryFile(suffix=".gz") as file:
        with gzip.open(file.name, "wt") as out:
            out.write("\n".join(["#version", *clip_merges()]))
        return SimpleTokenizer(bpe_path=file.name, context_length=text.get("context_length", 77))


def write_clip(folder):
    tokenizer = clip({})
    (folder / "vocab.json").write_text(json.dumps({token.replace("<start_of_text>", "<|startoftext|>").replace("<end_of_text>", "<|endoftext|>"): index for token, index in tokenizer.encoder.items()}, ensure_ascii=False))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *clip_merges()]) + "\n")
    return len(tokenizer.encoder)


def unigram(specials, post):
    inner = Tokenizer(models.Unigram())
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=specials, unk_token="<unk>", initial_alphabet=[chr(c) for c in range(33, 127)], show_progress=False)
    inner.train_from_iterator(CORPUS * 4, trainer)
    inner.post_processor = processors.TemplateProcessing(single=post, special_tokens=[(token, inner.token_to_id(token)) for token in specials if token in post.split()])
    return inner


def byte_fallback(specials, post):
    """Gemma's: spaces become U+2581, and what no merge has becomes bytes."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Split(Regex(" "), "merged_with_next")
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.train_from_iterator(CORPUS * 4, trainers.BpeTrainer(vocab_size=200, show_progress=False))
    learned = json.loads(trained.to_str())["model"]
    names = [*specials, *[f"<0x{byte:02X}>" for byte in range(256)], *learned["vocab"]]
    inner = Tokenizer(models.BPE(vocab={name: index for index, name in enumerate(names)}, merges=[tuple(pair) for pair in learned["merges"]], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    inner.add_special_tokens(specials)
    inner.post_processor = processors.TemplateProcessing(single=post, special_tokens=[(token, inner.token_to_id(token)) for token in specials if token in post.split()])
    return inner


def word_piece():
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.train_from_iterator(CORPUS * 4, trainers.WordPieceTrainer(vocab_size=300, special_tokens=specials, show_progress=False))
    inner.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[(token, inner.token_to_id(token)) for token in ("[CLS]", "[SEP]")])
    return inner


def byte_level(specials):
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.train_from_iterator(CORPUS * 4, trainers.BpeTrainer(vocab_size=400, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    inner.post_processor = processors.RobertaProcessing(("</s>", inner.token_to_id("</s>")), ("<s>", inner.token_to_id("<s>")), add_prefix_space=False)
    return inner


def write(folder, text):
    """Writes the tokenizer of a text tower's configuration; returns the number of its tokens."""
    name = text.get("hf_tokenizer_name")
    if name is None:
        return write_clip(folder)
    roberta = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    names = dict(bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", cls_token="<s>", sep_token="</s>", mask_token="<mask>")
    if "SigLIP2" in name:
        specials = ["<pad>", "<eos>", "<bos>", "<unk>"]
        inner = byte_fallback(specials, "$A <eos>")
        names = dict(bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>")
    elif "SigLIP" in name:
        inner = unigram(["<unk>", "</s>"], "$A </s>")
        names = dict(eos_token="</s>", pad_token="</s>", unk_token="<unk>")
    elif "bert-base" in name and "roberta" not in name:
        inner = word_piece()
        names = dict(pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")
    elif "nllb" in name:
        inner = unigram([*roberta, "eng_Latn"], "eng_Latn $A </s>")
    elif name == "roberta-base":
        inner = byte_level(roberta)
    else:
        inner = unigram(roberta, "<s> $A </s>")
    inner.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "padding_side": "right", "model_max_length": 512, **names}))
    (folder / "special_tokens_map.json").write_text(json.dumps(names))
    return inner.get_vocab_size()
