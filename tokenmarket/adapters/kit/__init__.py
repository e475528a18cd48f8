"""What several adapters are made of: framing, OpenAI's wire format, its dialects."""
