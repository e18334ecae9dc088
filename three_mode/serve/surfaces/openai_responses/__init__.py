"""OpenAI's responses: `/v1/responses`, whole and streamed, and kept where the endpoint keeps conversations."""

from three_mode.serve.surfaces.openai_responses.surface import ResponsesSurface

__all__ = ["ResponsesSurface"]
