"""Cohere's official SDK, unmodified, v1 and v2 clients: rerank and embed."""

from collections.abc import Iterator
from decimal import Decimal

import cohere
import pytest

from tests.support.server import Server

DOCUMENTS = ["How to fold paper planes", "Weather of the lake", "Planes and trains"]


@pytest.fixture(params=["/api", "/api/v1"], ids=["host", "base-url"])
def base_url(server: Server, request: pytest.FixtureRequest) -> str:
    """Cohere's documentation says the host, ours says the base URL: both must work."""
    return server.base_url.removesuffix("/api/v1") + str(request.param)


@pytest.fixture
def v2(server: Server, base_url: str) -> Iterator[cohere.ClientV2]:
    with cohere.ClientV2(api_key=server.key, base_url=base_url, timeout=30) as client:
        yield client


@pytest.fixture
def v1(server: Server, base_url: str) -> Iterator[cohere.Client]:
    with cohere.Client(api_key=server.key, base_url=base_url, timeout=30) as client:
        yield client


def test_rerank_v2(v2: cohere.ClientV2, server: Server) -> None:
    answer = v2.with_raw_response.rerank(
        model="sandbox-rerank", query="paper planes", documents=DOCUMENTS, top_n=2
    )
    found = answer.data
    assert [result.index for result in found.results] == [0, 2]
    assert found.results[0].relevance_score > found.results[1].relevance_score > 0
    assert found.meta is not None
    assert found.meta.billed_units is not None
    assert found.meta.billed_units.search_units == 1
    receipt = server.receipt(answer.headers["x-request-id"])
    assert receipt["operation"] == "rerank"
    assert Decimal(receipt["amounts"]["charged"]) == Decimal(answer.headers["x-tokenmarket-cost"])
    assert Decimal(receipt["amounts"]["charged"]) > 0


def test_rerank_v1_with_documents(v1: cohere.Client) -> None:
    found = v1.rerank(
        model="sandbox-rerank",
        query="paper planes",
        documents=[{"text": text} for text in DOCUMENTS],
        return_documents=True,
    )
    assert len(found.results) == 3
    assert found.results[0].document is not None
    assert found.results[0].document.text == DOCUMENTS[0]


def test_a_refused_rerank_says_why_in_coheres_words(v2: cohere.ClientV2) -> None:
    with pytest.raises(cohere.BadRequestError) as refused:
        v2.rerank(model="sandbox-rerank", query="", documents=DOCUMENTS)
    body = refused.value.body
    assert isinstance(body, dict)
    assert body["message"] == body["detail"] == body["error"]["message"]
    assert body["error"]["param"] == "query"


def test_embed_v2(v2: cohere.ClientV2, server: Server) -> None:
    answer = v2.with_raw_response.embed(
        model="sandbox-embed",
        texts=["paper", "plane"],
        input_type="search_document",
        embedding_types=["float"],
    )
    vectors = answer.data.embeddings.float_
    assert vectors is not None
    assert len(vectors) == 2
    assert len(vectors[0]) == len(vectors[1]) > 0
    assert vectors[0] != vectors[1]
    assert answer.data.texts == ["paper", "plane"]
    assert server.receipt(answer.headers["x-request-id"])["operation"] == "embeddings"


def test_embed_v1_gives_bare_floats(v1: cohere.Client) -> None:
    answer = v1.embed(model="sandbox-embed", texts=["paper"], input_type="search_query")
    assert answer.response_type == "embeddings_floats"
    assert len(answer.embeddings) == 1


def test_embed_refuses_types_that_nobody_makes_here(v2: cohere.ClientV2) -> None:
    with pytest.raises(cohere.BadRequestError) as refused:
        v2.embed(
            model="sandbox-embed",
            texts=["paper"],
            input_type="search_query",
            embedding_types=["int8"],
        )
    assert "embedding_types" in str(refused.value.body)


def test_a_wrong_key_is_unauthorized(server: Server, base_url: str) -> None:
    wrong = server.key[:-4] + "AAAA"
    with (
        cohere.ClientV2(api_key=wrong, base_url=base_url) as client,
        pytest.raises(cohere.UnauthorizedError),
    ):
        client.embed(
            model="sandbox-embed",
            texts=["paper"],
            input_type="search_query",
            embedding_types=["float"],
        )
