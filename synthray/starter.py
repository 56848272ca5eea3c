"""`synthray init`: from a look at a source to a commented config."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable
from dataclasses import dataclass, replace

import pyarrow as pa

from synthray import storage
from synthray.advice import Advice, advise
from synthray.config import DataConfig
from synthray.data.codec import Codec
from synthray.data.decisions import MANY, Decision
from synthray.data.image_codec import ImageCodec
from synthray.data.inference import decide_table, schema_of
from synthray.data.matches import matching_columns
from synthray.data.prepare import open_data
from synthray.data.schema import Kind
from synthray.data.source import Source, open_source
from synthray.metrics.tables.reading import LEAST

SAMPLE_CHUNKS = 4
SHOWN_VALUES = 100
SHOWN_LETTERS = 30


@dataclass(frozen=True)
class Starter:
    """A config as text, and the command that comes next; None: no command takes so few rows."""

    text: str
    command: str | None


def starter_config(source: str, say: Callable[[str], None] = print) -> Starter:
    """A config for the data at ``source``.

    Size and colour of images are those of a sample; the values of labels, and the columns of tables
    are those of all rows.

    Raises:
        SourceError, SchemaError, StorageError.
    """
    looked = open_source(source)
    for note in looked.notes:
        say(_shown(note))
    if not looked.image_columns:
        return _table(source, looked, say)
    opened, codec = open_data(DataConfig(source=source, max_unreadable=1.0))
    chunks = opened.chunks[:: max(len(opened.chunks) // SAMPLE_CHUNKS, 1)]
    codec.fit([codec.partial(chunk.read()) for chunk in chunks])
    if not isinstance(codec, ImageCodec):
        raise TypeError("a source with an image column has an image codec")
    _tell_images(opened.rows, codec, say)
    columns = [_column(opened, codec, name, say) for name in opened.schema.names]
    kind = _image_sections(codec)
    conditions = [column.name for column in codec.schema.conditions]
    return Starter(_text(source, columns, conditions, advise(opened), kind), "run")


def _table(source: str, looked: Source, say: Callable[[str], None]) -> Starter:
    """A config with every column, whose kind can be corrected in place."""
    decisions = decide_table(looked)
    schema_of(looked, decisions)
    say(f"{looked.rows:,} rows of {len(decisions)} columns")
    lines = []
    for decision in decisions:
        told = _shown(_told(decision, looked.rows))
        say(f"  {_shown(decision.name)}: {decision.kind}; {told}")
        lines.append(_entry(decision, told))
    groups = matching_columns(looked, [d.name for d in decisions if _few_values(d)])
    for group in groups:
        names = _shown(", ".join(group))
        say(f"  {names}: their values go one to one; constraints: combinations keeps that")
    kind = replace(TABLE, data=TABLE.data + "".join(lines) + _constraints(groups))
    text = _text(source, [_shown(note) for note in looked.notes], [], advise(looked), kind)
    return Starter(text, _next(looked.rows, say))


def _next(rows: int, say: Callable[[str], None]) -> str | None:
    """The command that takes so many rows of a table."""
    if rows < 2:
        say("one row is too few to learn from: add rows to the source")
        return None
    if rows < LEAST:
        say(f"{rows} rows are too few to judge by: `synthray run` needs {LEAST}")
        return "train"
    return "run"


def _few_values(decision: Decision) -> bool:
    """Whether a column has values, more than one, that come again and again."""
    found, column = decision.profile, decision.column
    if found is None or column is None or column.kind in (Kind.id, Kind.text):
        return False
    return not pa.types.is_decimal(decision.type) and 1 < found.size <= min(MANY, found.count // 2)


def _constraints(groups: list[list[str]]) -> str:
    """Lines of YAML, as a comment: what would keep columns together."""
    if not groups:
        return ""
    rules = "".join(
        f"  #   - combinations: {json.dumps(group, ensure_ascii=False)}\n" for group in groups
    )
    why = "their values go one to one; this keeps that in every row"
    return f"  # constraints:          # {why}\n{rules}"


def _entry(decision: Decision, told: str) -> str:
    """A line of YAML: the column under data.schema, or a comment where it is left out."""
    name, column = json.dumps(decision.name, ensure_ascii=False), decision.column
    if column is None:
        return f"    # {name}: left out; {told}\n"
    given = {"format": column.format, "pattern": column.pattern}
    extra = "".join(
        f", {key}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in given.items()
        if value is not None
    )
    return f"    {name}: {{kind: {column.kind.value}{extra}}}  # {told}\n"


def _told(decision: Decision, rows: int) -> str:
    """What a column holds: its type, missing share, range or number of values, examples."""
    parts = [str(decision.type)]
    found = decision.profile
    if found is not None:
        if found.missing:
            parts.append(f"{found.missing / rows:.1%} missing")
        if found.low is not None:
            parts.append(f"{found.low} to {found.high}")
        parts.append(f"{found.size:,} {'value' if found.size == 1 else 'values'}")
        if found.low is None and found.examples:
            parts.append("such as " + ", ".join(_example(value) for value in found.examples))
    return "; ".join([*parts, *decision.notes])


def _example(value: object) -> str:
    text = str(value)
    return _shown(text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}…")


def _tell_images(rows: int, codec: ImageCodec, say: Callable[[str], None]) -> None:
    cleaning = codec.cleaning
    seen = cleaning.rows if cleaning else 0
    say(f"{rows:,} rows; of {seen:,} looked at: {codec.side} x {codec.side} {codec.mode}")
    if cleaning and cleaning.unreadable:
        say(f"  {cleaning.unreadable} cannot be read, such as {cleaning.examples[0][0]}")


def _column(source: Source, codec: Codec, name: str, say: Callable[[str], None]) -> str:
    """What a column is taken for, on one line."""
    if name not in codec.schema.names:
        return f"{_shown(name)}: {source.schema.field(name).type}; not modelled"
    column = codec.schema[name]
    if not column.condition:
        return f"{_shown(name)}: {column.kind.value}"
    values = _values(source, name)
    say(f"  condition {_shown(name)}: {values}")
    return f"{_shown(name)}: {column.kind.value}, condition; {values}"


def _values(source: Source, column: str) -> str:
    """All values of a column, as text."""
    found = {
        value
        for chunk in source.chunks
        for value in chunk.select([column]).read()[column].unique().to_pylist()
    }
    listed = sorted(
        (value for value in found if value is not None), key=lambda v: (str(type(v)), v)
    )
    shown = ", ".join(_shown(str(value)) for value in listed[:SHOWN_VALUES])
    more = " …" if len(listed) > SHOWN_VALUES else ""
    return f"{len(listed)} values: {shown}{more}"


def _shown(name: str) -> str:
    """On one line, whatever it holds."""
    return name if name.isprintable() else json.dumps(name)


@dataclass(frozen=True)
class Sections:
    """The parts of a config that depend on the kind of data; whole lines of YAML."""

    data: str
    model: str
    looks: str
    evaluate: str
    rate: str = "generator"


def _image_sections(codec: ImageCodec) -> Sections:
    labelled = bool(codec.schema.conditions)
    features = "domain" if labelled else "efficientnet-lite0"
    return Sections(
        data=f"""\
  image_side: {codec.side}          # pixels; images are cut square and resized to this
  image_mode: {codec.mode}         # grey or rgb
  max_unreadable: 0.01    # skip up to this share of unreadable files
""",
        model="""\
  name: dcgan             # the quickest; rpgan is steadier, and a step is several times as dear
""",
        looks="steps between pictures under samples/",
        evaluate=f"""\
evaluate:
  features: {features}        # domain, efficientnet-lite0, inception
  # holdout: folder with real images that training does not see
  gates: {{}}               # such as {{tstr: {{min: 0.9}}}}; a miss makes the exit code 3
""",
    )


TABLE = Sections(
    data="""\
  schema:                 # what was found; correct it in place, or drop a line to detect it anew
""",
    model="""\
  name: nade              # for any table; rpgan, wgan_gp, sngan, gan learn from numbers alone
""",
    looks="steps between looks at the samples",
    evaluate="""\
evaluate:
  # target: [column]      # to predict; none given: the conditions, or a fitting one
  # holdout: a table of real rows that training does not see; privacy is judged against it
  gates: {}               # such as {quality: {min: 0.9}}; a miss makes the exit code 3
""",
    rate="optimizer",
)


def _text(
    source: str, notes: list[str], conditions: list[str], advice: Advice, kind: Sections
) -> str:
    # JSON's strings are YAML's too, and need no thought about what YAML would read into them.
    name = posixpath.basename(storage.absolute(source).rstrip("/")) or "data"
    listed = "".join(f"#   {note}\n" for note in notes)
    quoted = ", ".join(json.dumps(condition, ensure_ascii=False) for condition in conditions)
    batch = advice.batch_size
    return f"""\
# Written by `synthray init`. Every key can be overridden: synthray train FILE train.steps=100
# Found:
{listed}\
seed: 0
data:
  source: {json.dumps(source, ensure_ascii=False)}
  conditions: [{quoted}]   # columns to condition on; [] for none
{kind.data}\
model:
{kind.model}\
  params: {{}}              # the family's own settings
train:
  steps: {advice.steps}
  batch_size: {batch}         # global rows per step
  eval_every: 500         # {kind.looks}
  checkpoint_every: 500
cluster:
  workers: 1              # processes, of training and of generation
  cpus_per_worker: 1
generate:
  rows: 10000
  seed: 0
  shard_rows: 8192        # rows per Parquet file, a multiple of 1,024
  license: unspecified    # goes into the dataset card
{kind.evaluate}\
# For `synthray tune`, a search for settings that train stably:
# tune:
#   space:
#     model.params.{kind.rate}.lr: {{low: 1e-5, high: 1e-2, log: true}}
#     train.batch_size: [{max(batch // 2, 2)}, {batch}]
#   trials: 16
#   seeds: 3              # of each trial: what counts first is how many succeed
output: {json.dumps(f"out/{name}", ensure_ascii=False)}
"""
