"""The machine that reads a pickle: a stack, a memo, and one step for each opcode that plain data needs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from understudy.facesets.pickles.arrays import GLOBALS, Arrays, Blob, ElementType, EmptyArray, Global
from understudy.facesets.pickles.quick import ArrayHead, Pairs, array_at, pairs_at, table_at
from understudy.facesets.pickles.refusals import CutOffError, SharedError, refuse

LARGE = 4096
"""Bytes of at least this length, which are the content of arrays, are not copied but pointed at."""

_LONGEST_NAME = 256
_LONGEST_NUMBER = 64


class Machine:
    """Runs a pickle; what it describes is then the top of the stack, with Blob and EmptyArray still in it.

    size: of the whole pickle, where `data` is only a part of it. tables: see `reading.loads`. leaves: large arrays are
    left where they lie, as StoredArray.
    Raises DamagedError, CutOffError and what bad arguments make Python raise (`refusals.as_unsafe`); SharedError when
    something inside a table is referred to.
    """

    def __init__(
        self,
        data: bytes | memoryview,
        *,
        size: int | None = None,
        tables: frozenset[str] = frozenset(),
        leaves: bool = False,
    ) -> None:
        self.data = data
        self.size = len(data) if size is None else size
        self.tables = tables
        self.at = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.memorised = 0  # how many memo numbers are used, of things that are no longer in the memo too
        self.arrays = Arrays(room=4 * self.size + 4096, leaves=leaves)
        self.is_halted = False
        self.has_ended = False

    def run(self) -> None:
        """Run to the end of the pickle, or until something halts the machine."""
        while not self.is_halted:
            opcode = self.data[self.at]
            self.at += 1
            _STEPS[opcode](self)

    def stop(self) -> None:
        if self.marks:
            refuse("the pickle ends inside a list")
        self.is_halted = self.has_ended = True

    def has_grown(self) -> None:
        """Told when the list or dictionary on top of the stack has got more items."""

    # -- bytes

    def byte(self) -> int:
        value = self.data[self.at]
        self.at += 1
        return value

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            raise CutOffError("the pickle is cut off")
        piece = bytes(self.data[self.at : end])
        self.at = end
        return piece

    def blob(self, count: int) -> bytes | Blob:
        if count < LARGE:
            return self.take(count)
        if self.at + count > len(self.data):
            raise CutOffError("the pickle is cut off")
        self.at += count
        return Blob(self.data, self.at - count, count)

    def changing_blob(self, count: int) -> bytearray | Blob:
        found = self.blob(count)
        if isinstance(found, Blob):
            found.may_change = True
            return found
        return bytearray(found)

    def number(self, form: struct.Struct) -> Any:
        return form.unpack(self.take(form.size))[0]

    def integer(self, size: int) -> int:
        if size > _LONGEST_NUMBER:
            refuse("a whole number of more than 512 bits")
        return int.from_bytes(self.take(size), "little", signed=True)

    def text(self, size: int) -> str:
        return self.take(size).decode("utf-8", "surrogatepass")

    def line(self) -> str:
        piece, end, _ = bytes(self.data[self.at : self.at + _LONGEST_NAME]).partition(b"\n")
        if not end:
            raise CutOffError("the pickle is cut off")
        self.at += len(piece) + 1
        return piece.decode("ascii")

    def protocol(self) -> None:
        if self.byte() > 5:
            refuse("the pickle is of an unknown protocol")

    def frame(self) -> None:
        """FRAME: a hint for readers of streams, without meaning here."""
        self.take(8)

    # -- stack

    def pop(self) -> Any:
        self.top()
        return self.stack.pop()

    def top(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            refuse("the pickle takes from an empty stack")
        return self.stack[-1]

    def drop(self) -> None:
        self.pop()

    def pop_to_mark(self) -> list[Any]:
        if not self.marks:
            refuse("the pickle takes more from the stack than is on it")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop_tuple(self, count: int) -> tuple[Any, ...]:
        return tuple(reversed([self.pop() for _ in range(count)]))

    # -- memo

    def remember(self, index: int) -> None:
        if index > max(self.size, 255):
            refuse("a memo number beyond all reason")
        self.memorised += index not in self.memo
        self.memo[index] = self.top()

    def recall(self, index: int) -> Any:
        return self.memo[index] if index in self.memo else self.forgotten(index)

    def forgotten(self, index: int) -> Any:
        """What was remembered under a number that is not in the memo."""
        if self.tables and index < self.memorised:
            raise SharedError
        refuse("a memo number that nothing was remembered under")

    # -- lists and dictionaries

    def empty_list(self) -> None:
        """EMPTY_LIST, alone or with what can be read at once."""
        table = table_at(self.data, self.at, self.memorised) if self._is_a_table_due() else None
        if table is not None:
            self._push_table(*table)
        elif pairs := pairs_at(self.data, self.at - 1):
            self._push_pairs(pairs)
        else:
            self.stack.append([])

    def append(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is not list:
            refuse("items are added to something that is no list")
        target.extend(items)
        self.has_grown()

    def set_items(self, items: list[Any] | tuple[Any, ...]) -> None:
        target, keys = self.top(), items[::2]
        if type(target) is not dict or len(items) % 2:
            refuse("entries are set in something that is no dictionary")
        if not all(isinstance(key, (str, int, float, bytes)) for key in keys):
            refuse("a dictionary key is neither text nor number")
        target.update(zip(keys, items[1::2], strict=True))
        self.has_grown()

    def _is_a_table_due(self) -> bool:
        """Whether a dictionary key has just been read whose value may be given as an array."""
        return bool(self.tables and self.stack) and type(self.stack[-1]) is str and self.stack[-1] in self.tables

    def _push_table(self, pairs: Pairs, index: int | None) -> None:
        table = pairs.numbers
        self.stack.append(table)
        if index is not None:
            self.memo[index] = table
            self.memorised += 1
        self.memorised += len(pairs.memo_indices(self.memorised))  # but its lists are not in the memo: see `forgotten`
        self.at = pairs.end

    def _push_pairs(self, pairs: Pairs) -> None:
        lists, indices = pairs.numbers.tolist(), pairs.memo_indices(self.memorised)
        self.stack.extend(lists)
        self.memo.update(zip(indices, lists, strict=False))  # no indices where nothing is remembered
        self.memorised += len(indices)
        self.at = pairs.end

    # -- globals and what they make

    def global_lines(self) -> None:
        if head := array_at(self.data, self.at):
            self._push_array(head)
        else:
            module, name = self.line(), self.line()
            self.find_global(module, name)

    def global_stack(self) -> None:
        module, name = self.pop_tuple(2)
        if not isinstance(name, str) or not isinstance(module, str):
            refuse("a global that is no name")
        self.find_global(module, name)

    def find_global(self, module: str, name: str) -> None:
        known = GLOBALS.get((module, name))
        if known is None:
            refuse(f"it asks for {module}.{name}, which plain data never needs")
        self.stack.append(known)

    def reduce(self) -> None:
        target, arguments = self.pop_tuple(2)
        if type(arguments) is not tuple or not isinstance(target, Global):
            refuse("it calls something")
        self.stack.append(target.make(self.arrays, *arguments))

    def build(self) -> None:
        state, target = self.pop(), self.top()
        if type(state) is not tuple:
            refuse("an object state that is no tuple")
        if isinstance(target, ElementType):
            target.build(state)
        elif isinstance(target, EmptyArray):
            self.arrays.fill(target, state)
        else:
            refuse("it changes the inside of something that is no array")

    def _push_array(self, head: ArrayHead) -> None:
        """An array as `dumps` writes it, in one step instead of thirty; what is odd about it is refused as ever."""
        self.at = head.end
        content = self.blob(head.size)
        if self.take(2) != b"tb":
            refuse("an array whose content does not end it")
        self.stack.append(self.arrays.made(content, head.element, head.shape, "C"))


Step = Callable[[Machine], None]


def _refused(opcode: int) -> Step:
    return lambda m: refuse(f"opcode {opcode:#04x} is not needed for plain data")


def _pushes(value: Any) -> Step:
    return lambda m: m.stack.append(value)


_U2, _U4, _U8, _I4, _F8 = (struct.Struct(form) for form in ("<H", "<I", "<Q", "<i", ">d"))

_KNOWN: dict[bytes, Step] = {
    # the pickle itself
    b"\x80": Machine.protocol,
    b"\x95": Machine.frame,
    b".": Machine.stop,
    # stack and memo
    b"(": lambda m: m.marks.append(len(m.stack)),
    b"0": Machine.drop,
    b"q": lambda m: m.remember(m.byte()),
    b"r": lambda m: m.remember(m.number(_U4)),
    b"\x94": lambda m: m.remember(m.memorised),
    b"h": lambda m: m.stack.append(m.recall(m.byte())),
    b"j": lambda m: m.stack.append(m.recall(m.number(_U4))),
    # values
    b"N": _pushes(None),
    b"\x88": _pushes(True),
    b"\x89": _pushes(False),
    b"K": lambda m: m.stack.append(m.byte()),
    b"M": lambda m: m.stack.append(m.number(_U2)),
    b"J": lambda m: m.stack.append(m.number(_I4)),
    b"\x8a": lambda m: m.stack.append(m.integer(m.byte())),
    b"\x8b": lambda m: m.stack.append(m.integer(m.number(_U4))),
    b"G": lambda m: m.stack.append(m.number(_F8)),
    b"X": lambda m: m.stack.append(m.text(m.number(_U4))),
    b"\x8c": lambda m: m.stack.append(m.text(m.byte())),
    b"\x8d": lambda m: m.stack.append(m.text(m.number(_U8))),
    b"B": lambda m: m.stack.append(m.blob(m.number(_U4))),
    b"C": lambda m: m.stack.append(m.blob(m.byte())),
    b"\x8e": lambda m: m.stack.append(m.blob(m.number(_U8))),
    b"\x96": lambda m: m.stack.append(m.changing_blob(m.number(_U8))),
    # containers
    b"]": Machine.empty_list,
    b"l": lambda m: m.stack.append(m.pop_to_mark()),
    b"a": lambda m: m.append([m.pop()]),
    b"e": lambda m: m.append(m.pop_to_mark()),
    b")": _pushes(()),
    b"\x85": lambda m: m.stack.append(m.pop_tuple(1)),
    b"\x86": lambda m: m.stack.append(m.pop_tuple(2)),
    b"\x87": lambda m: m.stack.append(m.pop_tuple(3)),
    b"t": lambda m: m.stack.append(tuple(m.pop_to_mark())),
    b"}": lambda m: m.stack.append({}),
    b"s": lambda m: m.set_items(m.pop_tuple(2)),
    b"u": lambda m: m.set_items(m.pop_to_mark()),
    # globals
    b"c": Machine.global_lines,
    b"\x93": Machine.global_stack,
    b"R": Machine.reduce,
    b"b": Machine.build,
}
_STEPS: list[Step] = [_KNOWN.get(bytes([opcode]), _refused(opcode)) for opcode in range(256)]
