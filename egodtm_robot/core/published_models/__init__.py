"""Weights from elsewhere: read without running anything in them, completely or not at all.

:mod:`.files` reads files of tensors, :mod:`.matching` puts them into a module,
:mod:`.hub` loads models of transformers, :mod:`.preprocessing` does what their processor files ask
for, and :mod:`.identity` tells weights apart without loading them. :mod:`.image_models` knows the
families whose authors publish files; :mod:`.resnet`, :mod:`.vit` and :mod:`.voltron` are their
networks.
"""
