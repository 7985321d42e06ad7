"""Naming things: each noun of a text finds the prediction that means it, among other nouns.

The word contrastive loss of HelpingHands (Zhang, Gupta, Zisserman, arXiv 2308.07918): nouns are
matched with predictions by similarity, one prediction a noun, and each matched prediction has to
tell its noun from all others. Theirs compares with a dictionary of nouns, leaving out those of much
the same meaning (similarity above 0.6). Here it is compared with the nouns of the global batch,
each counted once, and only the same noun is left out.
"""

import torch
from torch.nn import functional

from egodtm_robot.core.errors import ModelInputError
from pretrain.losses.distributed import gather, global_mean
from pretrain.losses.matching import assign


def name_loss(
    predictions: torch.Tensor,
    names: torch.Tensor,
    present: torch.Tensor,
    groups: torch.Tensor,
    logit_scale: torch.Tensor,
) -> torch.Tensor:
    """Mean over clips with nouns of the mean cross-entropy of telling their nouns from others.

    Args:
        predictions: float (n, Q, J), of length 1, of this process's clips.
        names: float (n, K, J), of length 1, embeddings of the clips' nouns; all processes have n of
            them. What is not present may be anything finite.
        present: bool (n, K), at most Q a clip.
        groups: int64 (n, K), the same number for the same noun, see
            :func:`~pretrain.losses.text_groups`.
        logit_scale: factor of the similarities, 1 / temperature.

    Returns:
        A scalar, see :mod:`pretrain.losses`; 0 if no clip has nouns.

    Raises:
        ModelInputError: the shapes do not fit each other, or a clip has more nouns than
            predictions.
    """
    clips, queries, width = predictions.shape
    if names.shape != (clips, present.shape[1], width) or groups.shape != present.shape:
        raise ModelInputError(
            f"Expected names ({clips}, K, {width}) with a flag and a group each, got "
            f"{tuple(names.shape)}, {tuple(present.shape)} and {tuple(groups.shape)}."
        )
    most = int(present.sum(dim=1).max()) if clips else 0
    if most > queries:
        raise ModelInputError(f"Expected at most {queries} names a clip, got {most}.")
    with torch.autocast(predictions.device.type, enabled=False):
        similarity = names.detach() @ predictions.detach().mT
    chosen = assign(-similarity, present)
    matched = predictions.gather(1, chosen[..., None].expand(-1, -1, width))

    every_name, every_group = gather(names).flatten(0, 1), gather(groups).flatten()
    every_present = gather(present.to(torch.int64)).flatten().bool()
    counted = _first_of_each(every_group, every_present)
    with torch.autocast(predictions.device.type, enabled=False):
        logits = matched @ every_name.T * logit_scale
        own = (matched * names).sum(dim=-1) * logit_scale
    rivals = counted & (groups[..., None] != every_group)
    logits = torch.cat([own[..., None], logits.masked_fill(~rivals, float("-inf"))], dim=-1)
    target = torch.zeros(logits.shape[:2], dtype=torch.int64, device=logits.device)
    losses = functional.cross_entropy(logits.mT, target, reduction="none")
    number = present.sum(dim=1)
    by_clip = torch.where(present, losses, 0.0).sum(dim=1) / number.clamp(min=1)
    return global_mean(by_clip, number > 0)


def _first_of_each(groups: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Which places hold the first of their group among those present: bool (N,)."""
    same = (groups[:, None] == groups) & present
    return present & (same.int().argmax(dim=1) == torch.arange(len(groups), device=groups.device))
