"""The trained parts that the diffusion model works with: the embedded VQGAN and the embedded CLIP's text tower."""

import json
from pathlib import Path

import torch

TOOLS = Path(__file__).resolve().parents[1]
CRATES = TOOLS.parent / "crates"
# of the pictures, in pixels
SIDE = 96
# what makes the VQGAN's latents of about unit variance
SCALE = 0.385


def vqgan():
    from diffusers import VQModel
    from safetensors.torch import load_file

    folder = CRATES / "embedded-vqgan/src"
    model = VQModel(**{k: v for k, v in json.load(open(folder / "config.json")).items() if not k.startswith("_")})
    model.load_state_dict({k: v.float() for k, v in load_file(folder / "diffusion_pytorch_model.safetensors").items()})
    return model.eval().requires_grad_(False)


class Text:
    """The embedded CLIP's text tower: the states of all 32 tokens after its last normalisation, [texts, 32, 128]."""

    def __init__(self, device="cpu", folder=CRATES / "clip/src/embedded"):
        from transformers import CLIPTextModel, PreTrainedTokenizerFast

        self.model = CLIPTextModel.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False).to(device)
        end = "<|endoftext|>"
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{folder}/tokenizer.json", eos_token=end, pad_token=end, unk_token=end)

    @torch.no_grad()
    def __call__(self, texts):
        ids = self.tokenizer(texts, padding="max_length", truncation=True, max_length=32, return_tensors="pt").input_ids
        return torch.cat([self.model(input_ids=i.to(self.model.device)).last_hidden_state for i in ids.split(2048)])
