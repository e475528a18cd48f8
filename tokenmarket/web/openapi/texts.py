"""What the fields of requests and answers mean: English msgids, by struct; ``*`` is for all others.

Chinese is in ``web/locale/zh/api.po``. A test demands a text for every field of every request body.
"""

from __future__ import annotations

from typing import Any

from tokenmarket.core.requests import ProviderChoice

FIELDS: dict[str, dict[str, str]] = {
    "*": {
        "model": "The public id of a model, as in GET /models.",
        "models": "Further models to fall back to, in order.",
        "provider": "A provider's name pins it; an object chooses among several.",
        "user": "Your own word for the end user; kept in logs, never billed.",
        "stream": "Send the answer as server-sent events while it is made.",
        "seed": "For answers that can be repeated, where the model can.",
        "n": "How many answers; each is charged.",
        "temperature": "Higher is more varied.",
        "top_p": "Only the likeliest tokens whose shares add up to this.",
        "presence_penalty": "Above 0: new topics are likelier.",
        "frequency_penalty": "Above 0: repetition is less likely.",
        "stop": "Ends the answer before any of these texts.",
        "stream_options": "Only with stream.",
        "max_tokens": "The most tokens of the answer. Money is held for them.",
        "max_completion_tokens": "The newer name of max_tokens; give one of them.",
        "logprobs": "Also give the probabilities of the tokens.",
        "truncate": "What to do with texts that are too long.",
        "size": "Width x height, as in 1024x1024.",
        "negative_prompt": "What must not be seen, where the model can.",
        "language": "ISO code of the language, as in en or zh.",
        "image_url": "An address (https or data), or an object with url.",
        "video_url": "An address, or an object with url.",
        "audio_url": "An address, or an object with url.",
        "file_id": "Files are not kept here; send the picture itself.",
    },
    "ChatBody": {
        "messages": "The conversation so far, oldest first.",
        "top_logprobs": "How many other tokens to show with each; needs logprobs.",
        "tools": "The functions that the model may ask for.",
        "tool_choice": "none, auto, required, or one function.",
        "parallel_tool_calls": "Whether several functions may be asked for at once.",
        "response_format": "json_object, or json_schema with a schema that the answer follows.",
        "reasoning_effort": "How long the model thinks: none, minimal, low, medium, high or xhigh.",
        "service_tier": "The provider's tier; it may change the price.",
        "modalities": "text, and audio where the model speaks.",
        "metadata": "Kept in logs; never billed.",
        "logit_bias": "Token id to a bias from -100 to 100.",
    },
    "CompletionBody": {
        "prompt": "A text, several, or token ids.",
        "best_of": "Make so many and give the best n; all are charged.",
        "echo": "Give the prompt back before the answer.",
        "suffix": "What comes after the text that is made.",
    },
    "EmbeddingBody": {
        "input": "A text, or up to 2048 texts or lists of token ids.",
        "encoding_format": "float, or base64 of little-endian floats.",
        "dimensions": "The length of the vectors, where the model can.",
    },
    "EmbedBody": {
        "texts": "1 to 96 texts.",
        "images": "Pictures are not embedded here.",
        "inputs": "Only texts are embedded here.",
        "input_type": "search_query, search_document, classification or clustering.",
        "embedding_types": "One of float and base64.",
        "output_dimension": "The length of the vectors, where the model can.",
    },
    "RerankBody": {
        "query": "What the documents are compared with.",
        "documents": "1 to 1000 texts, or objects with text.",
        "top_n": "How many results; all unless given.",
        "top_k": "Voyage's word for top_n.",
        "return_documents": "Give the documents back with their scores.",
        "max_tokens_per_doc": "Longer documents are cut off here.",
        "max_chunks_per_doc": "Cohere's older limit of pieces per document.",
        "rank_fields": "Which members of object documents count.",
        "instruction": "What to look for, for models that take one.",
        "truncation": "Whether texts that are too long are cut.",
        "relevant_spans": "Also mark the passages that answer, where the model can.",
    },
    "ModerationBody": {
        "input": "A text, texts, or parts with text and pictures.",
    },
    "ImageBody": {
        "prompt": "What the picture shows; not for variations.",
        "quality": "As the model names it, as in low, medium, high.",
        "response_format": "url (for an hour unless set otherwise) or b64_json.",
        "background": "transparent needs png or webp.",
        "output_format": "The format of the file.",
        "output_compression": "Percent, for jpeg and webp.",
        "moderation": "How strictly the provider filters.",
        "style": "As the model names it.",
        "input_fidelity": "How closely edits keep to the picture given.",
        "partial_images": "How many unfinished pictures a stream shows.",
        "images": "Pictures to start from, by address (https or data).",
        "image": "An address or a list of them, as several providers spell it.",
        "mask": "Where an edit may change the picture.",
    },
    "SpeechBody": {
        "input": "The text, up to 4096 characters unless the model takes more.",
        "voice": "A name of the model's, or an object with its id.",
        "instructions": "How it is spoken, where the model can.",
        "response_format": "The format of the sound; mp3 unless given.",
        "speed": "1 is the usual speed.",
        "stream_format": "sse: events instead of bare sound.",
    },
    "TranscriptionBody": {
        "languages": "Languages that may be spoken.",
        "keywords": "Words that are likely to be said.",
        "prompt": "Words or style to go by.",
        "response_format": "json, text, srt, vtt, verbose_json or diarized_json.",
        "timestamp_granularities": "word, segment; needs verbose_json.",
        "include": "More to give, as in logprobs.",
        "chunking_strategy": "How long sound is cut into pieces, where the model can.",
        "known_speaker_names": "Up to four people who speak.",
        "known_speaker_references": "A sample of each, as a data URL.",
    },
    "VideoBody": {
        "prompt": "What happens in the video.",
        "seconds": "How long it is; whole seconds the model offers.",
        "duration": "Another name of seconds.",
        "duration_sec": "Another name of seconds.",
        "width": "In pixels, instead of size.",
        "height": "In pixels, instead of size.",
        "resolution": "As in 720p, 1080p, 2k, 4k.",
        "aspect_ratio": "As in 16:9 or 9:16.",
        "ratio": "Another name of aspect_ratio.",
        "fps": "Frames per second, where the model offers a choice.",
        "mode": "The model's grade, as in std or pro.",
        "camera": "How the camera moves.",
        "audio": "With sound, where the model can.",
        "generate_audio": "Another name of audio.",
        "sound": "Another name of audio.",
        "image": "The first frame: an address (https or data).",
        "images": "Addresses of pictures to start from.",
        "image_tail": "The last frame: an address.",
        "last_frame": "The last frame: an address.",
        "frame_images": "First and last frame, as OpenRouter writes them.",
        "input_reference": "A picture to start from, as OpenAI writes it.",
        "input_references": "Pictures, videos and sounds to go by.",
        "video": "The video to change or lengthen: its id here, or an address.",
        "prompt_enhance": "Let the provider rewrite the prompt.",
        "prompt_extend": "Another name of prompt_enhance.",
        "enhance_prompt": "Another name of prompt_enhance.",
        "watermark": "Whether the provider puts its mark on it.",
        "callback_url": "Where a signed notice is sent when the task ends.",
        "callback_secret_ref": "Reserved; notices are signed with the organization's secret.",
        "metadata": "Up to 16 values of yours, given back with the task.",
        "provider_options": "Options of one provider, by its name.",
        "response_format": "Videos always come as addresses.",
        "safety_identifier": "Your own stable word for the end user.",
    },
    "CameraBody": {
        "fixed": "The camera does not move.",
        "type": "A movement that the model knows by name.",
        "config": "Movements from -10 to 10.",
    },
    "FrameBody": {
        "frame_type": "Which frame it is.",
    },
    "PartBody": {
        "role": "What it is used for.",
    },
    "Address": {
        "url": "https or data.",
    },
    "SourceBody": {
        "id": "The id of a finished task here.",
        "url": "The address of a video.",
    },
    "Message": {
        "role": "Who speaks.",
        "content": "A text, or parts.",
        "tool_calls": "What an assistant asked for.",
        "tool_call_id": "Which call a tool answers.",
        "name": "Tells speakers of one role apart.",
    },
    "Part": {
        "type": "text, image_url, input_audio or file.",
        "text": "For type text.",
        "input_audio": "For type input_audio: data (base64) and format.",
        "file": "For type file: file_data (a data URL) and filename.",
    },
    "Tool": {
        "type": "function, or a tool of the provider.",
        "function": "What can be called.",
    },
    "FunctionTool": {
        "name": "Letters, digits, _ and -.",
        "description": "When and how to call it.",
        "parameters": "The arguments, as a JSON Schema.",
        "strict": "Arguments follow the schema exactly.",
    },
    "ToolCall": {
        "id": "The id of the call.",
        "type": "function.",
        "function": "What was asked for.",
    },
    "FunctionCall": {
        "name": "The name of the function.",
        "arguments": "JSON in a text.",
    },
    "StreamOptions": {
        "include_usage": "Send usage and cost before the end of the stream.",
        "include_obfuscation": "OpenAI's padding of events against eavesdroppers.",
    },
    "ImageReference": {
        "image_url": "An address (https or data).",
    },
    "ReferenceBody": {
        "image_url": "An address (https or data), or an object with url.",
    },
    "Voice": {
        "id": "The provider's id of the voice.",
    },
    "ProviderChoice": {
        "order": "Try these first, in this order.",
        "only": "No other provider than these.",
        "ignore": "Never these.",
        "allow_fallbacks": "Whether others may be tried when the first fails.",
        "sort": "Cheapest, quickest or fastest first.",
        "max_price": "The most that may be paid per unit, in USD.",
        "data_collection": "deny: only providers that do not train on it.",
        "zdr": "Only providers that keep nothing.",
        "require_parameters": "Refuse instead of dropping what a provider cannot express.",
    },
    "MaxPrice": {
        "prompt": "Per million tokens read.",
        "completion": "Per million tokens written.",
        "request": "Per request.",
        "image": "Per picture.",
        "audio": "Per second of sound.",
    },
    "ErrorObject": {
        "code": "One of the codes of the error table.",
        "reason": "A finer cause.",
        "param": "The JSON path of what is wrong.",
        "request_id": "Opens the receipt.",
        "fault": "Whose fault it is.",
        "retryable": "Whether the same request may succeed later.",
        "provider": "What the provider said.",
        "docs_url": "The page about this code.",
    },
    "Receipt": {
        "first_byte_ms": "From acceptance to the first byte of the answer.",
        "overhead_ms": "Our own part of the time.",
        "attempts": "Every provider that was tried; only the last is charged.",
        "items": "The lines that add up to the charge.",
        "price_version": "The price list that was charged by.",
        "markup_percent": "What the caller's group adds to list prices; the items include it.",
        "ledger": "The ids of the ledger's transfers.",
        "dropped_params": "What the provider could not express.",
    },
    "ReceiptAmounts": {
        "released": "What was held and not charged.",
    },
    "VideoTask": {
        "status": "OpenAI's four words.",
        "state": "The exact state here.",
        "progress": "Whole percent; 100 when it can be fetched.",
        "expires_at": "Until when the file is kept.",
        "url": "Signed and for a while; ask again for a new one.",
        "polling": "When to ask again.",
        "defaults": "Which values you did not give.",
    },
    "Credits": {
        "held": "Set aside for running requests.",
    },
    "Key": {
        "hint": "The beginning and the end of the key.",
    },
}

# What we read in members that the bodies keep as they came (``msgspec.Raw``).
_ADDRESS = {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]}
RAW: dict[str, Any] = {
    "provider": str | ProviderChoice,
    "image": str | list[str],
    "Part.image_url": _ADDRESS,
    "Part.input_audio": {
        "type": "object",
        "properties": {"data": {"type": "string"}, "format": {"type": "string"}},
        "required": ["data"],
    },
    "Part.file": {"type": "object"},
    "tool_choice": str | dict[str, object],
    "chunking_strategy": str | dict[str, object],
}


def describe(struct: str, field: str) -> str | None:
    """The text of a field, or None."""
    return FIELDS.get(struct, {}).get(field) or FIELDS["*"].get(field)


def raw(struct: str, field: str) -> Any:
    """The type, or the schema, of a field that is passed on as it came."""
    return RAW.get(f"{struct}.{field}", RAW.get(field))
