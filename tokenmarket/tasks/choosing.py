"""Where an order may go: the routes to try, each with the order as its model takes it."""

from __future__ import annotations

import msgspec

from tokenmarket.accounts import Caller
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError
from tokenmarket.core.pricing import Unpriced, ceiling
from tokenmarket.core.requests import Request
from tokenmarket.core.routing import Plan, RouteState, plan
from tokenmarket.core.uploads import Input
from tokenmarket.core.video.capabilities import plan_request, resolve
from tokenmarket.core.video.request import ResolvedVideo, VideoRequest
from tokenmarket.core.wording import say
from tokenmarket.exchange import Exchange
from tokenmarket.store import tasks as rows
from tokenmarket.store.tasks import TaskRow
from tokenmarket.tasks.documents import read_delivered
from tokenmarket.tasks.engine import SECOND_US, Engine
from tokenmarket.tasks.submitting import Option

OPERATION = "video"


class Chooser:
    """Plans creates."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def source(self, caller: Caller, request: VideoRequest) -> TaskRow | None:
        """The finished task of this organisation that a remix, edit or extension works on."""
        if request.source_task_id is None:
            return None
        row = await rows.by_id(self._engine.database, caller.org_id, request.source_task_id)
        if row is None:
            raise ApiError(
                "REQUEST_004",
                say("There is no video {source_task_id!r}.", source_task_id=request.source_task_id),
                param="video",
                reason="video_not_found",
            )
        if row.state != "succeeded":
            raise ApiError(
                "REQUEST_008",
                say(
                    "The video is {state}; one that is completed can be worked on.", state=row.state
                ),
                param="video",
                reason="video_not_ready",
            )
        return row

    def options(
        self,
        exchange: Exchange,
        caller: Caller,
        request: VideoRequest,
        source: TaskRow | None,
        body: bytes,
    ) -> list[Option]:
        """The routes to try, each with the order as its model takes it. Raises ApiError."""
        catalog = self._engine.catalog.for_group(caller.group_id)
        model = catalog.find_model(request.model)
        asked = Request(
            operation=OPERATION,
            model=request.model,
            body=body,
            typed=ResolvedVideo(model=request.model),
            choice=request.choice,
            models=request.models,
        )
        if model is not None and model.operation == OPERATION:
            asked = plan_request(resolve(request, model), body)
            asked.model = request.model  # as it was written: aliases are the plan's
        asked.request_id = exchange.request_id
        asked.created_s = exchange.inbound.accepted_us // SECOND_US
        exchange.request = asked
        exchange.plan = found = plan(
            asked,
            caller.allowed,
            catalog.current,
            self._state,
            draw=self._engine.draw(),
            near_names=catalog.near_names,
        )
        options = self._resolved(request, found, exchange, source)
        exchange.route = options[0].route
        return options

    def _resolved(
        self, request: VideoRequest, found: Plan, exchange: Exchange, source: TaskRow | None
    ) -> list[Option]:
        options: list[Option] = []
        refusal: ApiError | None = None
        for index, route in enumerate(found.routes):
            if options and route.model.id != options[0].route.model.id:
                exchange.skip(index, "a task stays with the model that its hold is for")
                continue
            try:
                video = resolve(request, route.model)
                option = self._sourced(Option(route, video), source)
                ceiling_of(option)
            except ApiError as error:
                refusal = refusal or error
                exchange.skip(index, error.message)
            except Unpriced as error:
                exchange.skip(index, f"no price for {error.unit}")
            else:
                options.append(option)
        if not options:
            raise refusal or ApiError(
                "MODEL_002",
                say("The model {model!r} has no usable route.", model=request.model),
                param="model",
            )
        return options

    def _sourced(self, option: Option, source: TaskRow | None) -> Option:
        """The provider that made the source may know it by id; others get its address."""
        if source is None:
            return option
        video = option.video
        there = option.route.provider
        adapter = self._engine.adapters.get(there.adapter)
        knows = adapter is not None and adapter.knows_sources
        if knows and there.name == source.provider and source.upstream_id:
            video = msgspec.structs.replace(video, source_upstream_id=source.upstream_id)
            return msgspec.structs.replace(option, video=video, credential_id=source.credential_id)
        kept = read_delivered(source.outputs_json).outputs
        film = next((item for item in kept if item.kind == "video" and item.key), None)
        if film is None:
            raise ApiError("REQUEST_009", "The source video is not kept any more.", param="video")
        url, _ = self._engine.shelf.address(film.key)
        video = msgspec.structs.replace(
            video, inputs=(*video.inputs, Input("video", "video", url=url))
        )
        return msgspec.structs.replace(option, video=video)

    def _state(self, route: Route) -> RouteState:
        if route.provider.adapter in self._engine.adapters:
            return self._engine.upstreams.state(route)
        return RouteState(
            available=False,
            kind="unpriced",
            reason=f"{route.provider.name} does not offer {OPERATION}",
        )


def ceiling_of(option: Option) -> int:
    """The most that the order can cost there. Raises Unpriced."""
    return ceiling(option.route.prices, option.video.bound, option.video.attributes)
