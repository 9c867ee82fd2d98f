"""What a fault is: something that begins while people talk, and ends again."""

from abc import ABC, abstractmethod

from benchmarks.client.chat import Chat, Talk
from benchmarks.measure.figures import Figures
from benchmarks.scenario import Bench


class Fault(ABC):
    """One fault, once."""

    slows_nobody = True
    """Whether nobody else may wait much longer meanwhile."""

    def __init__(self, bench: Bench, chat: Chat) -> None:
        self.bench = bench
        self.chat = chat

    @abstractmethod
    async def begin(self) -> None:
        """The fault is there when this returns, or comes by itself soon after."""

    @abstractmethod
    async def end(self) -> None:
        """All is as before."""

    def figures(self, talk: Talk) -> Figures:
        """What there is to say of it, after it ended."""
        return {}
