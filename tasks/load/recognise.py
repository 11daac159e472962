"""Which stream an object is of: by its metadata, or, for a plain file, by the key column in its header."""

from tasks.errors import ObjectInvalid
from tasks.load.align import cut_name, hint
from tasks.load.records import read_header
from tasks.s3 import Snapshot
from tasks.streams import STREAMS, Stream


def stream_of(snapshot: Snapshot) -> Stream:
    """The stream whose table the object is for.

    Raises:
        ObjectInvalid: a plain file without any stream's key column.
    """
    if snapshot.scope is not None:
        return snapshot.scope.stream
    header = [cut_name(name) for name in read_header(snapshot.path)]
    found = [stream for stream in STREAMS.values() if stream.key_column in header]
    # Enrollments refer to members by their key: a stream whose key is just a column of another one is not meant.
    referred = {name for stream in found for name in stream.names.values() if name != stream.key_column}
    keyed = [stream for stream in found if stream.key_column not in referred]
    if len(keyed) != 1:
        keys = [stream.key_column for stream in STREAMS.values()]
        raise ObjectInvalid(
            f"line 1: expected a header with {' or '.join(keys)}, which shows what a plain file contains; found "
            f"{len(header)} names, {'none' if not keyed else 'several'} of these among them.{hint(header, keys)}"
        )
    return keyed[0]
