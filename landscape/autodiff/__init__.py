"""How derivatives are taken without leaving a trace in the model."""
