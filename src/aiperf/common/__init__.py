"""Names for plugins that were written for the incumbent; nothing of ours imports them."""
