"""Chat models: what language and vision-language models share, whichever service owns them."""
