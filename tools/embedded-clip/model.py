"""CLIP with Hugging Face state-dict names in plain torch, and the frozen MiniLM text teacher."""

import os

import torch
import torch.nn as nn
import torch.nn.functional as F

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class Attn(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.h = h
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(d, d) for _ in range(4))

    def forward(self, x, causal):
        B, L, D = x.shape
        q, k, v = (
            m(x).view(B, L, self.h, D // self.h).transpose(1, 2) for m in (self.q_proj, self.k_proj, self.v_proj)
        )
        o = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out_proj(o.transpose(1, 2).reshape(B, L, D))


class Mlp(nn.Module):
    def __init__(self, d, i):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(d, i), nn.Linear(i, d)

    def forward(self, x):
        # quick_gelu, x * sigmoid(1.702 x) = silu(1.702 x) / 1.702: the factors go into the (small) matrices,
        # and silu is one fused pass
        x = F.silu(F.linear(x, self.fc1.weight * 1.702, self.fc1.bias * 1.702))
        return F.linear(x, self.fc2.weight / 1.702, self.fc2.bias)


class Layer(nn.Module):
    def __init__(self, d, h, i):
        super().__init__()
        self.self_attn, self.layer_norm1, self.mlp, self.layer_norm2 = (
            Attn(d, h),
            nn.LayerNorm(d),
            Mlp(d, i),
            nn.LayerNorm(d),
        )

    def forward(self, x, causal=False):
        x = x + self.self_attn(self.layer_norm1(x), causal)
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    def __init__(self, n, d, h, i):
        super().__init__()
        self.layers = nn.ModuleList([Layer(d, h, i) for _ in range(n)])

    def forward(self, x, causal=False):
        for layer in self.layers:
            x = layer(x, causal)
        return x


class VisEmb(nn.Module):
    def __init__(self, d, patch, n):
        super().__init__()
        self.class_embedding = nn.Parameter(torch.randn(d) * 0.02)
        self.patch_embedding = nn.Conv2d(3, d, patch, patch, bias=False)
        self.position_embedding = nn.Embedding(n + 1, d)

    def forward(self, x):
        x = self.patch_embedding(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(x.shape[0], 1, -1).to(x.dtype), x], 1)
        return x + self.position_embedding.weight.to(x.dtype)


class Vision(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c["hidden_size"]
        self.embeddings = VisEmb(d, c["patch_size"], (c["image_size"] // c["patch_size"]) ** 2)
        self.pre_layrnorm = nn.LayerNorm(d)  # (sic) the name in the original layout
        self.encoder = Encoder(c["num_hidden_layers"], d, c["num_attention_heads"], c["intermediate_size"])
        self.post_layernorm = nn.LayerNorm(d)

    keep = 1.0  # share of patch tokens kept (training only: half is twice as fast)
    kept = None  # the drawn tokens, where two passes have to see the same ones

    def draw(self, B, device):
        n = self.embeddings.position_embedding.weight.shape[0] - 1
        return torch.rand(B, n, device=device).argsort(1)[:, : int(n * self.keep)] + 1

    def forward(self, x):
        x = self.embeddings(x)
        if self.keep < 1:
            B, L, D = x.shape
            i = self.draw(B, x.device) if self.kept is None else self.kept
            x = torch.cat([x[:, :1], x.gather(1, i[..., None].expand(-1, -1, D))], 1)
        return self.post_layernorm(self.encoder(self.pre_layrnorm(x))[:, 0])


class TxtEmb(nn.Module):
    def __init__(self, v, d, n):
        super().__init__()
        self.token_embedding, self.position_embedding = nn.Embedding(v, d), nn.Embedding(n, d)

    def forward(self, ids):
        return self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]


class Text(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c["hidden_size"]
        self.eos = c["eos_token_id"]
        self.embeddings = TxtEmb(c["vocab_size"], d, c["max_position_embeddings"])
        self.encoder = Encoder(c["num_hidden_layers"], d, c["num_attention_heads"], c["intermediate_size"])
        self.final_layer_norm = nn.LayerNorm(d)

    def forward(self, ids):
        x = self.final_layer_norm(self.encoder(self.embeddings(ids), True))
        return x[torch.arange(len(ids)), (ids == self.eos).int().argmax(-1)]


class CLIP(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        p = cfg["projection_dim"]
        v = cfg["vision_config"]
        self.text_model = Text(cfg["text_config"])
        if "rn_layers" in v:
            from resnet import ResNet

            self.vision_model = ResNet(v["rn_layers"], v["rn_width"], v["image_size"], p, v["rn_width"] * 32 // 64).to(
                memory_format=torch.channels_last
            )
            self.visual_projection = nn.Identity()
        else:
            self.vision_model = Vision(v)
            self.visual_projection = nn.Linear(v["hidden_size"], p, bias=False)
        self.text_projection = nn.Linear(cfg["text_config"]["hidden_size"], p, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(2.6592))
        for n, q in self.named_parameters():
            if "rn_layers" in v and n.startswith("vision_model"):
                continue
            if q.dim() >= 2:
                nn.init.trunc_normal_(
                    q, std=0.02 if "embed" in n and "patch" not in n else min(0.05, (q[0].numel()) ** -0.5)
                )
            elif n.endswith("bias"):
                nn.init.zeros_(q)
        if "rn_layers" not in v:
            init_vision(self.vision_model)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def image(self, x):
        """x: (B,3,S,S) in 0..1 -> unit embeddings"""
        return F.normalize(self.visual_projection(self.vision_model((x - self.mean) / self.std)).float(), dim=-1)

    def text(self, ids):
        return F.normalize(self.text_projection(self.text_model(ids)).float(), dim=-1)


@torch.no_grad()
def init_vision(v):
    """2-D sine positions strong enough to be seen past the patch colours, and attention that starts near identity
    ("mimetic" initialisation)."""
    w = v.embeddings.position_embedding.weight
    n, d = w.shape[0] - 1, w.shape[1]
    g = int(n**0.5)
    f = torch.exp(-torch.arange(d // 4) / (d // 4) * 4.0) * 2.0
    y, x = torch.meshgrid(torch.arange(g).float(), torch.arange(g).float(), indexing="ij")
    a, b = x.flatten()[:, None] * f, y.flatten()[:, None] * f
    pe = torch.cat([a.sin(), a.cos(), b.sin(), b.cos()], 1)
    w.zero_()
    w[1:, : pe.shape[1]] = 0.5 * pe
    for layer in v.encoder.layers:
        A = layer.self_attn
        h, k = A.h, d // A.h
        q, kk = [], []
        for _ in range(h):
            U, S, Vt = torch.linalg.svd(0.7 * torch.randn(d, d) / d**0.5 + 0.7 * torch.eye(d))
            q.append((U[:, :k] * S[:k].sqrt()).T)
            kk.append((Vt[:k].T * S[:k].sqrt()).T)
        A.q_proj.weight.copy_(torch.cat(q) * 0.8)
        A.k_proj.weight.copy_(torch.cat(kk) * 0.8)
        U, S, Vt = torch.linalg.svd(0.4 * torch.randn(d, d) / d**0.5 - 0.4 * torch.eye(d))
        A.v_proj.weight.copy_((Vt.T * S.sqrt()).T)
        A.out_proj.weight.copy_(U * S.sqrt())


def make_config(size=64, patch=8, vh=192, vl=6, th=192, tl=3, vocab=8192, ctx=32, proj=256, head=32):
    return dict(
        architectures=["CLIPModel"],
        model_type="clip",
        projection_dim=proj,
        logit_scale_init_value=2.6592,
        torch_dtype="float16",
        vision_config=dict(
            model_type="clip_vision_model",
            image_size=size,
            patch_size=patch,
            num_channels=3,
            hidden_size=vh,
            intermediate_size=4 * vh,
            num_hidden_layers=vl,
            num_attention_heads=vh // head,
            projection_dim=proj,
            hidden_act="quick_gelu",
            layer_norm_eps=1e-5,
        ),
        text_config=dict(
            model_type="clip_text_model",
            vocab_size=vocab,
            max_position_embeddings=ctx,
            hidden_size=th,
            intermediate_size=4 * th,
            num_hidden_layers=tl,
            num_attention_heads=th // head,
            projection_dim=proj,
            hidden_act="quick_gelu",
            layer_norm_eps=1e-5,
            bos_token_id=vocab - 2,
            eos_token_id=vocab - 1,
            pad_token_id=vocab - 1,
        ),
    )


class MiniLM:
    """Frozen sentence encoder (mean-pooled, unit norm, 384). `path`: the model folder of the package."""

    def __init__(self, path, device="cpu"):
        from tokenizers import Tokenizer
        from transformers import BertModel

        self.m = BertModel.from_pretrained(path, add_pooling_layer=False).eval().to(device)
        self.tok = Tokenizer.from_file(os.path.join(path, "tokenizer.json"))
        self.dev = device
        self.tok.enable_truncation(48)
        self.tok.enable_padding()

    @torch.no_grad()
    def encode(self, texts, bs=256, log=False):
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        out = torch.empty(len(texts), 384, dtype=torch.float16)
        for i in range(0, len(order), bs):
            idx = order[i : i + bs]
            enc = self.tok.encode_batch([texts[j] for j in idx])
            ids = torch.tensor([e.ids for e in enc], device=self.dev)
            mask = torch.tensor([e.attention_mask for e in enc], device=self.dev)
            h = self.m(input_ids=ids, attention_mask=mask).last_hidden_state
            m = mask[..., None].float()
            out[idx] = F.normalize((h * m).sum(1) / m.sum(1), dim=-1).half().cpu()
            if log and (i // bs) % 40 == 0:
                print("minilm", i, len(order), flush=True)
        return out
