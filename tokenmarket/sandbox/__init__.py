"""The built-in provider: answers like an OpenAI-compatible upstream, without any model.

For demos, tests and load. It serves only names that begin with ``sandbox-`` and says in its
answers what it is: it never pretends to be a real model. The same request always gets the same
answer.

    tokens      what one token is here
    schema      a value that conforms to a JSON schema
    bodies      what it reads of a request, and how it refuses
    behaviour   models, faults and pace on demand -> Script (what is sent, how, when)
    answers     (pure) a chat body -> texts, reasoning, tool calls, counts
    wire        (pure) answers as OpenAI's JSON and server-sent events
    text        chat and legacy completions: body -> Script
    embeddings  body -> Script
    calls       what every other operation gets; forms reads its body, JSON or multipart
    pictures    images: generations, edits, files; painting draws a PNG, probing reads uploads
    speaking    speech; voices is how it sounds, mp3 and soundfiles write it
    transcribing  transcriptions, translations; hearing reads the uploaded sound
    videos      tasks; orders is what their ids say, filming and h264 write the mp4
    ranking     rerank: BM25
    moderating  moderations: short lists of words
    desk        paths, cache of identical requests        <- a new operation is one row here
    server      the desk as an HTTP upstream of its own (`tokenmarket sandbox`)
    inprocess   the desk as a transport inside the gateway (provider base_url "sandbox:")
"""
