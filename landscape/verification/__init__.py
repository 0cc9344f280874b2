"""Whether a problem's derivatives can be trusted: measured, with the module at fault named."""
