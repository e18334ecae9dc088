"""The thread that decodes for all callers of one model, and the way from it to their loops."""
