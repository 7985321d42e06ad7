"""Captions by a language model of transformers on this machine."""

from collections.abc import Sequence
from typing import Any

from egodtm_robot.core.devices import pick_device
from egodtm_robot.core.errors import WeightsError
from egodtm_robot.core.fingerprints import hash_parts
from egodtm_robot.core.published_models.hub import (
    hub_options,
    load_config,
    load_model,
    load_tokenizer,
    loading,
)
from egodtm_robot.core.published_models.identity import folder_identity
from pretrain.annotate.captions.language_model import LanguageModelCaptions, Message
from pretrain.annotate.captions.template import CODE_VERSION as TEMPLATE_VERSION
from pretrain.annotate.errors import (
    AnnotatorOptionError,
    require_package,
)

_CODE_VERSION = 1


class TransformersCaptions(LanguageModelCaptions):
    """Captions by any chat model that transformers can load.

    Answers are the likeliest words (greedy), one clip at a time: in a batch of others a matrix
    product rounds differently, and a clip's caption would depend on its neighbors.

    Args:
        model: hub id such as ``Qwen/Qwen2.5-7B-Instruct``, or a folder with the model, its
            tokenizer and its chat template.
        gguf_file: name of a file in GGUF format in that folder to take model and tokenizer from.
        revision: branch, tag or commit on the hub.
        prompt: see :class:`LanguageModelCaptions`.
        max_new_tokens: at which an answer is cut off.
        device: ``auto``, ``cpu``, or a GPU such as ``cuda:0``, where the model runs in bfloat16.
        seed, distractors, caution: see
            :class:`~pretrain.annotate.captions.template.TemplateCaptions`.
        batch_size: clips at once.

    Raises:
        AnnotatorOptionError: an option is out of its range, or there is no such prompt.
        WeightsError: model or tokenizer is not to be had, not readable, or no chat model.
        MissingPackageError: a GGUF file was named and the package gguf is not installed.
    """

    def __init__(
        self,
        model: str,
        gguf_file: str | None = None,
        revision: str | None = None,
        prompt: str = "spatial_caption",
        max_new_tokens: int = 96,
        device: str = "auto",
        seed: int = 0,
        distractors: int = 4,
        caution: float = 1.25,
        batch_size: int = 8,
    ) -> None:
        super().__init__(prompt, seed, distractors, caution)
        if max_new_tokens < 1 or batch_size < 1:
            raise AnnotatorOptionError(
                "Expected max_new_tokens and batch_size of at least 1, got "
                f"{max_new_tokens} and {batch_size}."
            )
        if gguf_file is not None:
            require_package("gguf", "gguf", "A language model in a GGUF file")
        self.name = "language_model"
        self.batch_size = batch_size
        self._model_id, self._gguf_file, self._revision = model, gguf_file, revision
        self._max_new_tokens, self._device = max_new_tokens, pick_device(device)
        # What is not there or cannot chat is named now, not when other stages have run for a day.
        self._options: dict[str, Any] = {} if gguf_file is None else {"gguf_file": gguf_file}
        if gguf_file is None:
            load_config(model, revision)
        self._tokenizer = load_tokenizer(model, revision, **self._options)
        if not self._tokenizer.chat_template:
            raise WeightsError(
                f"Expected a chat template with the tokenizer of {model!r}, found none: take a "
                "model that was tuned for chat or for instructions."
            )
        self._model: Any = None
        self.fingerprint = hash_parts(
            "language_model",
            (_CODE_VERSION, TEMPLATE_VERSION),
            folder_identity(model, gguf_file, revision),
            self._prompt,
            max_new_tokens,
            (seed, distractors, caution),
        )

    def ask(self, conversations: Sequence[Sequence[Message]]) -> list[str]:
        """See :class:`LanguageModelCaptions`."""
        if not conversations:
            return []
        return [self._answer(messages) for messages in conversations]

    def _answer(self, messages: Sequence[Message]) -> str:
        import torch

        if self._model is None:
            self._model = self._load()
        tokenizer, model = self._tokenizer, self._model
        inputs = tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(model.device)
        with torch.inference_mode():
            output = model.generate(
                **inputs,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                max_new_tokens=self._max_new_tokens,
                pad_token_id=tokenizer.eos_token_id,
            )
        answer = output[0, inputs["input_ids"].shape[1] :]
        return str(tokenizer.decode(answer, skip_special_tokens=True))

    def _load(self) -> Any:
        import torch
        from transformers import AutoModelForCausalLM

        if self._gguf_file is None:
            model = load_model(AutoModelForCausalLM, self._model_id, self._revision)
        else:
            # Numbers of a GGUF file are unpacked, so that there are no tensors to match by name.
            with loading(self._model_id, f"a language model in {self._gguf_file}"):
                model = AutoModelForCausalLM.from_pretrained(
                    self._model_id,
                    dtype=torch.float32,
                    trust_remote_code=False,
                    **hub_options(self._model_id, self._revision),
                    **self._options,
                ).eval()
        kind = torch.bfloat16 if self._device.type == "cuda" else torch.float32
        return model.to(device=self._device, dtype=kind)
