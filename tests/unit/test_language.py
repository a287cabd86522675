"""The query language, row by row of its table and edge by edge: text to tree, and what is refused where."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from decimal import Decimal

import pyarrow as pa
import pytest

from ess_ray import language
from ess_ray.core.errors import QueryError
from ess_ray.core.filter import filter_batch
from ess_ray.core.query import All, And, Compare, Contains, Equals, Exists, Field, Node, Not, Or, Query, Range, Regex
from ess_ray.language import MAX_NESTING, MAX_PATTERN_CHARS, MAX_QUERY_BYTES, parse

MESSAGE = Field("message")
NOW_US = 1_790_000_000_000_000
TODAY_US = NOW_US - NOW_US % 86_400_000_000


def word(text: str) -> Contains:
    return Contains(MESSAGE, text, ignore_case=True)


def exact(text: str) -> Contains:
    return Contains(MESSAGE, text, ignore_case=False)


def attribute(name: str, text: str) -> Equals:
    return Equals(Field(name, attribute=True), text, ignore_case=False)


def level(text: str) -> Equals:
    return Equals(Field("level"), text, ignore_case=True)


A, B, C, D = word("a"), word("b"), word("c"), word("d")
DURATION = Field("duration_ms", attribute=True)


# ------------------------------------------------------------------------------------------- the contract's table
@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", All()),
        (" \t\n ", All()),
        ("*", All()),
        ("timeout", word("timeout")),
        ("timeout*reset", Regex(MESSAGE, "(?s)timeout.*reset", ignore_case=True)),
        ("*timeout*", word("timeout")),
        ('"Connection reset"', exact("Connection reset")),
        (r'"say \"hi\" \\ \n"', exact(r'say "hi" \ \n')),
        ('"a*b"', exact("a*b")),
        ('"AND"', exact("AND")),
        ('""', exact("")),
        (r"/user=\d+7/", Regex(MESSAGE, r"user=\d+7", ignore_case=False)),
        ("/Disk FULL/i", Regex(MESSAGE, "Disk FULL", ignore_case=True)),
        (r"/a\/b\\/", Regex(MESSAGE, r"a/b\\", ignore_case=False)),
        ("/etc/init.d", word("/etc/init.d")),
        ("/var/log", word("/var/log")),
        ("/var/log/", Regex(MESSAGE, "var/log", ignore_case=False)),
        ("level:ERROR", level("ERROR")),
        ("level:error", level("ERROR")),
        ("level:warning", level("WARN")),
        ('level:"Warning"', level("WARN")),
        ('service:"api gw"', Equals(Field("service"), "api gw", ignore_case=False)),
        ('service:"api*"', Equals(Field("service"), "api*", ignore_case=False)),
        ("service:API", Equals(Field("service"), "API", ignore_case=False)),
        ("service:api*", Regex(Field("service"), r"(?s)\Aapi.*\z", ignore_case=False)),
        ("service:*a.b**c", Regex(Field("service"), r"(?s)\A.*a\.b.*c\z", ignore_case=False)),
        ("level:err*", Regex(Field("level"), r"(?s)\Aerr.*\z", ignore_case=True)),
        (r"host:/web-\d+/", Regex(Field("host"), r"web-\d+", ignore_case=False)),
        (r"host:/WEB 1/i", Regex(Field("host"), r"WEB 1", ignore_case=True)),
        ("attributes.region:eu-1", attribute("region", "eu-1")),
        ("region:eu-1", attribute("region", "eu-1")),
        ("attributes.service:x", attribute("service", "x")),
        ("attributes.attributes:x", attribute("attributes", "x")),
        ("http.status_code:200", attribute("http.status_code", "200")),
        ("größe:5", attribute("größe", "5")),
        ("ünï:x", attribute("ünï", "x")),
        ("हिन्दी:x", attribute("हिन्दी", "x")),
        ("u\u0308ber:x", attribute("u\u0308ber", "x")),
        ("user-agent:curl", attribute("user-agent", "curl")),
        ("-user-agent:curl", Not(attribute("user-agent", "curl"))),
        ("k8s.io/pod-name:x", attribute("k8s.io/pod-name", "x")),
        ("user@host:x", attribute("user@host", "x")),
        ("@version:1", attribute("@version", "1")),
        ('"user agent":curl', attribute("user agent", "curl")),
        ('"user agent":"curl 8"', attribute("user agent", "curl 8")),
        ('-"user agent":curl', Not(attribute("user agent", "curl"))),
        (r'"a \"b\" \\":x', attribute(r'a "b" \ '.strip(), "x")),
        ('"10:22":*', Exists(Field("10:22", attribute=True))),
        ('"level":ERROR', level("ERROR")),
        ('"attributes.level":x', attribute("level", "x")),
        ('"x y":(a OR b)', Or((attribute("x y", "a"), attribute("x y", "b")))),
        ('"x y":>=5', Compare(Field("x y", attribute=True), ">=", 5)),
        ('"x y">=5', Compare(Field("x y", attribute=True), ">=", 5)),
        ("duration_ms>500", Compare(DURATION, ">", 500)),
        ("duration_ms>=500", Compare(DURATION, ">=", 500)),
        ("duration_ms<1.5e3", Compare(DURATION, "<", 1500)),
        ("duration_ms<=-.5", Compare(DURATION, "<=", -0.5)),
        ("-duration_ms>500", Not(Compare(DURATION, ">", 500))),
        ("(duration_ms>500)", Compare(DURATION, ">", 500)),
        ("severity_number>=17", Compare(Field("severity_number"), ">=", 17)),
        ("a-b<5", Compare(Field("a-b", attribute=True), "<", 5)),
        ("id:7", Equals(Field("event_id"), "7", ignore_case=False)),
        ("severity_number:17", Equals(Field("severity_number"), "17", ignore_case=False)),
        ("severity_number:>=17", Compare(Field("severity_number"), ">=", 17)),
        ("duration_ms:>5", Compare(DURATION, ">", 5)),
        ("duration_ms:<-1.5e3", Compare(DURATION, "<", -1500)),
        ("duration_ms:[100 TO 500]", Range(DURATION, 100, True, 500, True)),
        ("duration_ms:[  100   TO 500  ]", Range(DURATION, 100, True, 500, True)),
        ("duration_ms:[* TO 500]", Compare(DURATION, "<=", 500)),
        ("duration_ms:[100 TO *]", Compare(DURATION, ">=", 100)),
        ("duration_ms:[* TO *]", Compare(DURATION, ">=", float("-inf"))),
        ("duration_ms:{100 TO 500]", Range(DURATION, 100, False, 500, True)),
        ("trace_id:*", Exists(Field("trace_id"))),
        ("attributes.region:*", Exists(Field("region", attribute=True))),
        ("a b", And((A, B))),
        ("a AND b", And((A, B))),
        ("a OR b", Or((A, B))),
        ("NOT a", Not(A)),
        ("-a", Not(A)),
        ("a b OR c d", Or((And((A, B)), And((C, D))))),
        ("a AND b OR c", Or((And((A, B)), C))),
        ("a OR NOT b c", Or((A, And((Not(B), C))))),
        ("NOT a b", And((Not(A), B))),
        ("NOT (a b)", Not(And((A, B)))),
        ("NOT(a)", Not(A)),
        ("-(a OR b) c", And((Not(Or((A, B))), C))),
        ("a AND (b OR (c d))", And((A, Or((B, And((C, D))))))),
    ],
)
def test_table(text: str, tree: Node) -> None:
    assert parse(text) == tree


# --------------------------------------------------------------------- names under which clients send what is a column
@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("msg:x", Or((attribute("msg", "x"), Equals(MESSAGE, "x", ignore_case=False)))),
        ('"msg":x', Or((attribute("msg", "x"), Equals(MESSAGE, "x", ignore_case=False)))),
        ("attributes.msg:x", attribute("msg", "x")),
        ("severity:error", Or((attribute("severity", "error"), level("ERROR")))),
        ("-severity:error", Not(Or((attribute("severity", "error"), level("ERROR"))))),
        ("host.name:*", Or((Exists(Field("host.name", attribute=True)), Exists(Field("host"))))),
        ("@timestamp:*", Or((Exists(Field("@timestamp", attribute=True)), Exists(Field("timestamp"))))),
        (
            "ts:>=1790000000",
            Or((Compare(Field("ts", attribute=True), ">=", 1_790_000_000), Compare(Field("timestamp"), ">=", NOW_US))),
        ),
        ("time:>0.35", Compare(Field("time", attribute=True), ">", Decimal("0.35"))),
        (
            "time:[1 TO 5]",
            Range(Field("time", attribute=True), 1, True, 5, True),
        ),
        ("@timestamp:>2026-09-21", Compare(Field("timestamp"), ">", TODAY_US)),
        ('@timestamp:[* TO "2026-09-21 00:00"]', Compare(Field("timestamp"), "<=", TODAY_US)),
        ("date:tomorrow", attribute("date", "tomorrow")),
        ("time:12", attribute("time", "12")),
    ],
)
def test_a_name_that_clients_send_finds_what_it_became(text: str, tree: Node) -> None:
    assert parse(text) == tree


# ------------------------------------------------------------------------------------------------- writing and reading
@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        (Field("level"), "ERROR", "level:ERROR"),
        (Field("event_id"), "7", "id:7"),
        (Field("level", True), "x", "attributes.level:x"),
        (Field("event_id", True), "x", "event_id:x"),
        (Field("offset"), "7", "_ess.offset:7"),
        (Field("_ess.offset", True), "x", "attributes._ess.offset:x"),
        (Field("msg", True), "x", "attributes.msg:x"),
        (Field("attributes.x", True), "x", "attributes.attributes.x:x"),
        (Field("user agent", True), "curl 8", '"user agent":"curl 8"'),
        (Field("2x", True), "-1", '"2x":"-1"'),
        (Field("a:b", True), ":x", '"a:b":":x"'),
        (Field("a", True), "//x", 'a:"//x"'),
        (Field("a", True), "", 'a:""'),
        (Field("a", True), "x:>5", 'a:"x:>5"'),
        (Field("a", True), "http://x", "a:http://x"),
    ],
)
def test_a_term_is_quoted_where_it_needs_it(field: Field, value: str, text: str) -> None:
    assert language.field_term(field, value) == text
    assert parse(text) == (level(value) if field == Field("level") else Equals(field, value, ignore_case=False))


# ------------------------------------------------------------------------------------------------------ the edges
@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("10:22:33", word("10:22:33")),
        ("http://x", word("http://x")),
        ("s3://bucket/key", word("s3://bucket/key")),
        ("path:/var/log", attribute("path", "/var/log")),
        ("x:a:b", attribute("x", "a:b")),
        ("x:-5", attribute("x", "-5")),
        ("x:AND", attribute("x", "AND")),
        ("message:foo", Equals(MESSAGE, "foo", ignore_case=False)),
        ("message:*foo*", Regex(MESSAGE, r"(?s)\A.*foo.*\z", ignore_case=False)),
        (r"C:\Windows\n", word(r"C:\Windows\n")),
        (r"C:\x", word(r"C:\x")),
        ("fe80::1", word("fe80::1")),
        ("::1", word("::1")),
        ("std::vector<int>", word("std::vector<int>")),
        ("x:a::b", attribute("x", "a::b")),
        ("2x:5", word("2x:5")),
        ("#tag:5", word("#tag:5")),
        ("a+b:5", word("a+b:5")),
        ("db01:5432", attribute("db01", "5432")),
        ("arn:aws:s3:::b", attribute("arn", "aws:s3:::b")),
        ("level=ERROR", word("level=ERROR")),
        ("level: ERROR", And((word("level:"), word("ERROR")))),
        ('error: "it failed"', And((word("error:"), exact("it failed")))),
        ('{"a": 1}', And((word('{"a":'), word("1}")))),
        ('"a": 1', And((exact("a"), word(":"), word("1")))),
        ('"a"b:5', And((exact("a"), attribute("b", "5")))),
        ('"C":\\x', And((exact("C"), word(":\\x")))),
        ("x->y", word("x->y")),
        ("x>5ms", word("x>5ms")),
        ("x=>5", word("x=>5")),
        ("10>5", word("10>5")),
        ("a<b>c", word("a<b>c")),
        ("</div>5", word("</div>5")),
        (">5", word(">5")),
        ("x>" + "1" * 16_000 + "y", word("x>" + "1" * 16_000 + "y")),
        (r"\Windows\n", word(r"\Windows\n")),
        ("(/x/i)", Regex(MESSAGE, "x", ignore_case=True)),
        ("/x/ y", And((Regex(MESSAGE, "x", ignore_case=False), word("y")))),
        ("/a b/ /c/", And((Regex(MESSAGE, "a b", False), Regex(MESSAGE, "c", False)))),
        ("a/b/", word("a/b/")),
        (r"/x\/", word(r"/x\/")),
        ("//", word("//")),
        ("/", word("/")),
        ("// c /", And((word("//"), C, word("/")))),
        ("-/x/", Not(Regex(MESSAGE, "x", ignore_case=False))),
        ('-"x"', Not(exact("x"))),
        ("-level:error", Not(level("ERROR"))),
        ("foo-bar", word("foo-bar")),
        ("-", word("-")),
        ("a - b", And((A, word("-"), B))),
        ("--verbose", word("--verbose")),
        ("NOT NOT a", A),
        ("NOT NOT NOT a", Not(A)),
        ("NOT -a", A),
        ("and or not", And((word("and"), word("or"), word("not")))),
        ("ANDROID NOTE", And((word("ANDROID"), word("NOTE")))),
        ('{"key":"value"}', word('{"key":"value"}')),
        ('"a""b"', And((exact("a"), exact("b")))),
        ("f(a)b", And((word("f"), A, B))),
        ("((a))", A),
        ("a (b (c d))", And((A, B, C, D))),
        ("a OR (b OR c)", Or((A, B, C))),
        ("level:(error OR warning)", Or((level("ERROR"), level("WARN")))),
        ("level:(error service:x)", And((level("ERROR"), Equals(Field("service"), "x", ignore_case=False)))),
        ("duration_ms:(>5 AND -7) a", And((Compare(DURATION, ">", 5), Not(attribute("duration_ms", "7")), A))),
        ("ошибка 東京", And((word("ошибка"), word("東京")))),
        ("\ud800", word("\ufffd")),
        ("a\0b", word("a\0b")),
        ("[error]", word("[error]")),
        ("**", All()),
        ("a*.*b", Regex(MESSAGE, r"(?s)a.*\..*b", ignore_case=True)),
        ("timestamp:>=2026-09-21T15:06:40Z", Compare(Field("timestamp"), ">=", 1_790_003_200_000_000)),
        ("timestamp:1790000000", Equals(Field("timestamp"), "1790000000000000", ignore_case=False)),
    ],
)
def test_edges(text: str, tree: Node) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("a AND", 2, "AND needs a term after"),
        ("a OR AND b", 5, "AND needs a term before"),
        ("AND a", 0, "quote it"),
        ("OR", 0, "OR needs a term before"),
        ("a OR OR b", 5, "OR needs a term before"),
        ("(a OR) b", 3, "OR needs a term after"),
        ("x NOT", 2, "NOT needs a term after"),
        ("(", 0, "never closed"),
        ("a (b (c)", 2, "never closed"),
        ("a)", 1, 'no "("'),
        ("a () b", 2, "empty"),
        ('a "b', 2, "never closed"),
        (r'"a\"', 0, "never closed"),
        ("a level:", 2, "no value"),
        ("level: ", 0, "without a space"),
        ('"a b":', 0, "no value"),
        ('"":x', 0, "name the attribute"),
        ('"attributes.":x', 0, "name the attribute"),
        ("(level:)", 1, "no value"),
        ("a /(/", 2, "missing )"),
        (r"/\h/", 0, "invalid escape"),
        ("/a{1001}/", 0, "repetition size"),
        (r"host:/\pL{500}/", 5, "too large"),
        ("a x:>b", 4, "no number"),
        ("x:>=", 2, "no number"),
        ("@timestamp:>=soon", 11, "no number"),
        ('x:>"1 2"', 3, "no number"),
        ('x:["1" TO "b"]', 10, "no number"),
        ("x:>1_0", 2, "no number"),
        ("x:>nan", 2, "no number"),
        ("x:[1 TO b]", 8, "no number"),
        ("x:[1 2]", 2, "LOW TO HIGH"),
        ("timestamp:>=yesterday", 10, "no time"),
        ("attributes:x", 0, "name the attribute"),
        ("attributes.:x", 0, "name the attribute"),
        ("(" * (MAX_NESTING + 1) + "a" + ")" * (MAX_NESTING + 1), MAX_NESTING, "nest deeper"),
        ("/" + "a" * (MAX_PATTERN_CHARS + 1) + "/", 0, "at most 1000"),
        ("b*" + "a" * MAX_PATTERN_CHARS, 0, "at most 1000"),
        ("a" * (MAX_QUERY_BYTES + 1), MAX_QUERY_BYTES + 1, "at most 16384"),
        ("ä" * (MAX_QUERY_BYTES // 2 + 1), MAX_QUERY_BYTES // 2 + 1, "at most 16384"),
    ],
)
def test_refused_with_the_position(text: str, position: int, says: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert (caught.value.position, caught.value.http_status) == (position, 400)
    assert says in caught.value.message


def test_limits_hold_to_the_last_character() -> None:
    assert parse("/" + "a" * MAX_PATTERN_CHARS + "/") == Regex(MESSAGE, "a" * MAX_PATTERN_CHARS, ignore_case=False)
    assert parse("ä" * (MAX_QUERY_BYTES // 2)) == word("ä" * (MAX_QUERY_BYTES // 2))


@pytest.mark.parametrize("letters", ["sSſ", "kK\u212a", "ωΩ\u2126", "ꙋꙊ\u1c88", "𐐀𐐨"])
@pytest.mark.parametrize("form", ["{}", '"{}"'])
def test_the_longest_literal_is_searched_too(form: str, letters: str) -> None:
    count = (MAX_QUERY_BYTES - 2) // max(len(letter.encode()) for letter in letters)
    # Not one letter all over, which would be the worst case of every matcher.
    text = (("a" * 99 + letters[0]) * (count // 100 + 1))[:count]
    batch = pa.record_batch({"message": [text, text[1:], text.replace(letters[0], letters[1])]})
    ignores_case = form == "{}"
    assert filter_batch(batch, Query(parse(form.format(text)))).to_pylist() == ([0, 2] if ignores_case else [0])


def test_the_deepest_tree_survives_everything_that_is_done_to_trees() -> None:
    text = "x"
    for _ in range(MAX_NESTING // 2):
        text = f"y -(z OR ({text}))"
    tree = parse(text)
    assert text.count("(") == MAX_NESTING
    assert pickle.loads(pickle.dumps(tree)) == tree
    assert hash(tree) == hash(parse(text))
    assert "Contains" in repr(tree)
    assert Query(tree).columns() == {"message"}
    # The innermost level holds for "y" alone, the next for "xy" alone, and so on: the outermost is the 25th.
    assert filter_batch(pa.record_batch({"message": ["x", "y", "yz", "xy"]}), Query(tree)).to_pylist() == [1]


@pytest.mark.parametrize(
    "text",
    [
        "(" * 16_000,
        "a " * 8_192,
        "-" * MAX_QUERY_BYTES,
        "NOT " * 4_000 + "a",
        "/a " * 5_400,
        "/" * MAX_QUERY_BYTES,
        "\\" * MAX_QUERY_BYTES,
        '"' + "\\" * 16_000,
        "a OR " * 3_270 + "a",
        "x:(" * 5_000,
        "(a)" * 5_000,
        "a." * 8_000,
        " " * MAX_QUERY_BYTES,
    ],
    ids=lambda text: text[:6],
)
def test_the_largest_texts_never_exhaust_the_stack(text: str) -> None:
    try:
        assert parse(text) is not None
    except QueryError as error:
        assert 0 <= error.position <= len(text)  # noqa: PT017 - a refusal is one of two right answers


def test_a_query_names_its_columns(make_events: Callable[..., pa.Table]) -> None:
    tree = parse('level:error region:eu-1 "x" OR NOT id:7')
    assert Query(tree).columns() == {"level", "attributes", "attribute_types", "message", "event_id"}
    assert filter_batch(make_events([1, 2], ["a", "x"], event_id=["7", "8"]), Query(tree)).to_pylist() == [1]


def test_the_module_says_all_limits() -> None:
    assert language.MAX_QUERY_BYTES == 16 * 1024
    assert language.MAX_PATTERN_CHARS == 1_000
