"""What a process that writes no checkpoints holds in place of `Checkpoints`."""

from typing import Any


class NoCheckpoints:
    """Has the methods of `Checkpoints` that the train loop calls; they do nothing."""

    def __enter__(self) -> "NoCheckpoints":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def restore_newest(self, abstract: Any, tell: Any) -> Any:
        return None

    def tell_damaged_metrics(self, tell: Any) -> None:
        pass

    def metadata(self, step: int) -> dict[str, Any]:
        return {}

    def best_step(self) -> int | None:
        return None

    def save(
        self, step: int, tree: Any, validation: dict[str, float] | None, window: dict[str, float] | None = None
    ) -> None:
        pass

    def raise_if_failed(self) -> None:
        pass

    def wait(self) -> None:
        pass

    def steps(self) -> list[int]:
        return []
