"""One pass over the frames of a video: what `propagate_in_video`, a stream or a resumed job does frame by frame.

In come frame indices, in order; out go masks, each frame when it is decided for every object. Start with
`propagation` (one frame, all objects) and `object_track` (one object, all its frames); `passes` makes a generator of
them, `streaming` feeds it frames as they arrive, `saving` carries it over to another process.
"""
