"""CLIP of transformers is the same function as ours, on a tiny random one saved to disk."""

from pathlib import Path

import pytest
import torch
import transformers

from egodtm_robot.core.errors import WeightsError
from pretrain.checkpoints import (
    from_huggingface_clip,
    huggingface_clip_tensors,
    initialize_from,
)
from pretrain.model import EgoDTM, EgoDTMConfig

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    config = transformers.CLIPConfig(
        vision_config={**SIZES, "image_size": 32, "patch_size": 8},
        text_config={
            **SIZES,
            "vocab_size": 64,
            "bos_token_id": 62,
            "eos_token_id": 63,
            "pad_token_id": 0,
        },
        projection_dim=16,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.CLIPModel(config)
        # Larger than the initial weights, so that a part that is lacking shows.
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder


def test_embeddings_equal_those_of_transformers(saved: Path):
    theirs = transformers.CLIPModel.from_pretrained(saved).eval()
    ours = from_huggingface_clip(str(saved))
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (3, 1, 32, 32, 3), generator=generator, dtype=torch.uint8)
    tokens = torch.randint(1, 62, (3, 77), generator=generator)
    tokens[:, 0] = 62
    for row, end in enumerate((5, 76, 20)):
        tokens[row, end] = 63
        tokens[row, end + 1 :] = 0
    mean, std = (
        torch.tensor(v)[:, None, None] for v in (ours.config.vision.mean, ours.config.vision.std)
    )
    pixels = (frames[:, 0].permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.inference_mode():
        expected = theirs(input_ids=tokens, pixel_values=pixels)
        video = ours.encode_video(frames)
        text = ours.encode_text(tokens)
        patches = theirs.vision_model(pixels).last_hidden_state[:, 1:]
        patches = theirs.vision_model.post_layernorm(patches)
    close = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(video.embedding, expected.image_embeds, **close)
    torch.testing.assert_close(text, expected.text_embeds, **close)
    torch.testing.assert_close(video.patch_tokens[:, 0], patches, **close)


def test_training_begins_from_clip_with_a_decoder_of_its_own(saved: Path):
    config: EgoDTMConfig = from_huggingface_clip(str(saved)).config
    config.joint_width = 8
    config.text.causal = False
    model = EgoDTM(config)
    theirs = transformers.CLIPModel.from_pretrained(saved)
    kept = initialize_from(model, huggingface_clip_tensors(theirs.state_dict()), "clip")
    assert {"image_projection", "visual.temporal_embedding"} <= set(kept)
    clip_block = theirs.vision_model.encoder.layers[1].self_attn
    block = model.visual.transformer.resblocks[1].attn
    assert torch.equal(block.Wqkv.weight[32:64], clip_block.k_proj.weight)


def test_what_is_no_clip_is_named(tmp_path: Path):
    with pytest.raises(WeightsError, match="that CLIPModel knows"):
        from_huggingface_clip(str(tmp_path))
