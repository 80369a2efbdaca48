"""What language and vision-language models share."""
