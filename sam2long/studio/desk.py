"""The work of a person on one video: objects that come and go, what is shown of them, corrections, and undoing it."""

from __future__ import annotations

import copy
from typing import Any

from sam2long.studio.objects import MAX_OBJECTS, StudioObject, checked_name
from sam2long.studio.showing import Showing
from sam2long.views.visualize import Color


class Desk(Showing):
    """One video, its objects, and SAM 2's state of them. Not for several threads at once: see `Turns`.

    Args:
        predictor: which tracks.
        source: the video.
        state: of `predictor`, made with `keep_alternatives`; it knows what `objects` were shown.
        objects: of an earlier session.
        next_id: the number of the next object.

    Attributes:
        given_again: numbers that a saved state may know as those of other objects, which were undone.
    """

    # Of the last removal alone: a state may be large.
    _before_removal: tuple[object, dict[str, Any]] | None = None

    def require_room(self, count: int) -> None:
        """Raises ValueError where so many objects more are too many."""
        if len(self.objects) + count > MAX_OBJECTS:
            there = f"there are {len(self.objects)} already" if self.objects else f"these are {count}"
            raise ValueError(f"A session holds {MAX_OBJECTS} objects at most; {there}.")

    def add_object(self) -> StudioObject:
        """A new object, which is yet to be shown.

        Raises:
            ValueError: if there are as many as there can be.
        """
        self.require_room(1)
        added = StudioObject.new(self.next_id)
        self.objects[added.obj_id] = added
        self.next_id += 1
        self._note(f"adding {added.name}", lambda: self._unadd(added.obj_id))
        return added

    def remove_object(self, obj_id: int) -> None:
        """Forget an object and what was tracked of it."""
        removed, objects, this = self.known(obj_id), dict(self.objects), object()
        self._before_removal = this, copy.deepcopy(self.state)
        self._forget(obj_id)
        after = self._stamp()

        def restore() -> None:
            self.objects = objects
            removal, state = self._before_removal or (None, self.state)
            if removal is this and self._stamp() == after:
                self.state = state
            else:  # masks of the others are newer: this one is to be tracked again
                self.reshow(removed)
            self._before_removal = None

        self._note(f"removing {removed.name}", restore)

    def rename(self, obj_id: int, name: str) -> None:
        of, before = self.known(obj_id), self.known(obj_id).name
        if (named := checked_name(name)) == before:
            return
        if any(other.name == named for other in self.objects.values()):
            raise ValueError(f"Another object is called {named}.")
        of.name = named
        self._note(f"renaming {before}", lambda: setattr(of, "name", before))

    def recolor(self, obj_id: int, color: Color) -> None:
        of, before = self.known(obj_id), self.known(obj_id).color
        if color != before:
            of.color = color
            # A picker sends every colour on the way to the one that is meant.
            self._note(f"the colour of {of.name}", lambda: setattr(of, "color", before), once=True)

    def _unadd(self, obj_id: int) -> None:
        """As if it had never been: what came after it is undone already, so its number is free again."""
        self._forget(obj_id)
        self.next_id = obj_id
        self.given_again.add(obj_id)

    def _forget(self, obj_id: int) -> None:
        self.objects = {k: of for k, of in self.objects.items() if k != obj_id}
        self._drop(obj_id)

    def _stamp(self) -> tuple[int, int]:
        """Another one once something was tracked."""
        return id(self.state), sum(map(len, self.state["frames_tracked_per_obj"].values()))

    def will_track(self) -> None:
        """What was removed before is not put back as it was."""
        self._before_removal = None
