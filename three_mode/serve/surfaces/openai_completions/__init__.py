"""OpenAI's text completions: `/v1/completions`, bare prompts that a model continues, whole and streamed."""

from three_mode.serve.surfaces.openai_completions.surface import CompletionsSurface

__all__ = ["CompletionsSurface"]
