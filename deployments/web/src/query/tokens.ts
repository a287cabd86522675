// Cuts a query into tokens as the server does (`ess_ray/language`), for colours, completion, highlighting and edits.
// The server decides what is valid: here every text gives tokens, and what is not whole is marked as broken.

export type TokenKind =
  | 'word'
  | 'phrase'
  | 'regex'
  | 'operator' // AND, OR, NOT
  | 'minus'
  | 'open'
  | 'close'
  | 'field' // `level:`, with its colon; `ms` before `>500`
  | 'compare' // `>=17` behind a field
  | 'range' // `[1 TO 5]` behind a field
  | 'broken' // a quote or a range that is not closed

export interface Token {
  kind: TokenKind
  from: number
  to: number
  text: string
  /** For what stands behind a field, and for terms in FIELD:( ... ). */
  field?: string
  /** An odd number of NOT and - holds for it. */
  negated: boolean
  /** Parentheses that are open around it. */
  depth: number
}

/** A name that needs no quotes. */
const NAME = /[\p{L}_@][\p{L}\p{M}\p{N}_.\-/@]*/uy
const COLON = /:(?!:|\/\/|\\)/y
/** `>500` right behind a name. */
const COMPARED = /[<>]=?[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?=[\s()]|$)/y
const WORD = /[^\s()]+/y
const PHRASE = /"(?:[^"\\]|\\[\s\S])*"/y
const MINUS = /-(?=[^\s)-])/y
const RANGE = /[[{]\s*[^\s\]}]+\s+TO\s+[^\s\]}]+\s*[\]}]/y
const SLASH_AT_END = /\/i?(?=[\s)]|$)/g

function match(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at
  return pattern.exec(text)
}

export function tokens(text: string): Token[] {
  return new Scanner(text).scan()
}

class Scanner {
  private at = 0
  private readonly found: Token[] = []
  /** One entry per open parenthesis: the field that it gives, and whether a negation stands before it. */
  private readonly groups: { field: string | undefined; negated: boolean }[] = []
  /** A negation that waits for its factor. */
  private negation = false

  constructor(private readonly text: string) {}

  scan(): Token[] {
    for (;;) {
      while (/\s/.test(this.text[this.at] ?? '')) this.at += 1
      if (this.at >= this.text.length) return this.found
      this.next()
    }
  }

  private get group(): { field: string | undefined; negated: boolean } {
    return this.groups.at(-1) ?? { field: undefined, negated: false }
  }

  private put(kind: TokenKind, to: number, field?: string): void {
    const negated = this.group.negated !== this.negation
    const token: Token = {
      kind,
      from: this.at,
      to,
      text: this.text.slice(this.at, to),
      negated,
      depth: this.groups.length,
      ...(field === undefined ? {} : { field }),
    }
    this.found.push(token)
    this.at = to
  }

  private next(): void {
    const { text, at } = this
    if (text[at] === '(') {
      this.open(this.group.field)
      return
    }
    if (text[at] === ')') {
      this.groups.pop()
      this.put('close', at + 1)
      return
    }
    if (match(MINUS, text, at)) {
      this.put('minus', at + 1)
      this.negation = !this.negation
      return
    }
    const named = nameAt(text, at)
    if (!named) {
      this.term(this.group.field, false)
      return
    }
    this.put('field', named.to, named.field)
    const after = text[this.at]
    if (after === undefined || /[\s)]/.test(after))
      this.negation = false // the value is still to be typed
    else if (after === '(') this.open(named.field)
    else this.term(named.field, true)
  }

  private open(field: string | undefined): void {
    const negated = this.group.negated !== this.negation
    this.put('open', this.at + 1, field)
    this.groups.push({ field, negated })
    this.negation = false
  }

  private term(field: string | undefined, named: boolean): void {
    const { text, at } = this
    const word = (match(WORD, text, at)?.[0] ?? text[at] ?? '').length + at
    if (!named && /^(?:AND|OR|NOT)$/.test(text.slice(at, word))) {
      if (text.slice(at, word) === 'NOT') {
        this.put('operator', word)
        this.negation = !this.negation
      } else this.put('operator', word)
      return
    }
    const [kind, to] = this.leaf(field !== undefined, at, word)
    this.put(kind, to, field)
    this.negation = false
  }

  private leaf(hasField: boolean, at: number, word: number): [TokenKind, number] {
    const { text } = this
    if (text[at] === '"') {
      const phrase = match(PHRASE, text, at)
      return phrase ? ['phrase', at + phrase[0].length] : ['broken', text.length]
    }
    if (text[at] === '/') {
      const end = regexEnd(text, at)
      if (end !== null) return ['regex', end]
    }
    if (hasField && /[[{]/.test(text[at] ?? '')) {
      const range = match(RANGE, text, at)
      if (range) return ['range', at + range[0].length]
      if (text[at] === '[') return ['broken', word]
    }
    if (hasField && /^[<>]=?/.test(text.slice(at, word))) return ['compare', word]
    return ['word', word]
  }
}

/** The field's name that starts at `at`, and where it ends, behind its colon if it has one. */
function nameAt(text: string, at: number): { field: string; to: number } | null {
  const isQuoted = text[at] === '"'
  const found = match(isQuoted ? PHRASE : NAME, text, at)?.[0]
  if (found === undefined) return null
  const field = isQuoted ? unquote(found) : found
  const end = at + found.length
  if (match(COMPARED, text, end)) return { field, to: end }
  if (!match(COLON, text, end)) return null
  // `error: it failed` is a text; at the end somebody is still typing.
  const after = text.slice(end + 1)
  return /^\s+[^\s)]/.test(after) ? null : { field, to: end + 1 }
}

/** Where the regex that starts at `at` ends, behind its slash and its `i`; null when it is a word. */
function regexEnd(text: string, at: number): number | null {
  SLASH_AT_END.lastIndex = at + 1
  for (;;) {
    const slash = SLASH_AT_END.exec(text)
    if (!slash) return null
    if (escaped(text, slash.index)) continue
    return slash.index === at + 1 ? null : slash.index + slash[0].length
  }
}

function escaped(text: string, at: number): boolean {
  let before = at
  while (before > 0 && text[before - 1] === '\\') before -= 1
  return (at - before) % 2 === 1
}

/** The text that a phrase token stands for. */
export function unquote(phrase: string): string {
  return phrase.slice(1, -1).replace(/\\(["\\])/g, '$1')
}
