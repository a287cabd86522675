// The query editor: CodeMirror with our tokens' colours, one logical line, and our completion.
import {
  acceptCompletion,
  autocompletion,
  completionStatus,
  moveCompletionSelection,
  selectedCompletionIndex,
  startCompletion,
  type CompletionSource,
} from '@codemirror/autocomplete'
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands'
import { EditorState, RangeSetBuilder, StateEffect, StateField, type Extension } from '@codemirror/state'
import { Decoration, EditorView, keymap, placeholder, type DecorationSet } from '@codemirror/view'

import { tokens } from '../../query/tokens'

export interface QueryError {
  /** In UTF-16 units; null when the server did not say where. */
  position: number | null
  message: string
}

export const setError = StateEffect.define<QueryError | null>()

const MARKS = Object.fromEntries(
  ['word', 'phrase', 'regex', 'operator', 'minus', 'open', 'close', 'field', 'compare', 'range', 'broken'].map(
    (kind) => [kind, Decoration.mark({ class: `q-${kind}` })],
  ),
)
const WRONG = Decoration.mark({ class: 'q-error' })

function colours(state: EditorState): DecorationSet {
  const builder = new RangeSetBuilder<Decoration>()
  for (const token of tokens(state.doc.toString())) {
    const mark = MARKS[token.kind]
    if (mark) builder.add(token.from, token.to, mark)
  }
  return builder.finish()
}

const coloured = StateField.define<DecorationSet>({
  create: colours,
  update: (before, transaction) => (transaction.docChanged ? colours(transaction.state) : before),
  provide: (field) => EditorView.decorations.from(field),
})

/** Underlines the token at the place of an error, until the text changes. */
const wrong = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update: (before, transaction) => {
    const told = transaction.effects.find((effect) => effect.is(setError))
    if (told) return underline(transaction.state, told.value)
    return transaction.docChanged ? Decoration.none : before
  },
  provide: (field) => EditorView.decorations.from(field),
})

function underline(state: EditorState, error: QueryError | null): DecorationSet {
  const text = state.doc.toString()
  if (error?.position == null || text === '') return Decoration.none
  const at = error.position
  const token = tokens(text).find((one) => one.from <= at && at < one.to)
  const from = Math.min(token?.from ?? at, text.length - 1)
  return Decoration.set(WRONG.range(from, token?.to ?? text.length))
}

/** Newlines come by pasting: a query is one line, and all space means the same to it. */
const oneLine = EditorState.transactionFilter.of((transaction) => {
  if (!transaction.docChanged || transaction.newDoc.lines === 1) return transaction
  const text = transaction.newDoc.toString().replace(/\s*\n\s*/g, ' ')
  return [
    { changes: { from: 0, to: transaction.startState.doc.length, insert: text }, selection: { anchor: text.length } },
  ]
})

const look = EditorView.theme({
  '&': { backgroundColor: 'transparent', color: 'var(--text)', fontSize: '0.875rem' },
  '&.cm-focused': { outline: 'none' },
  '.cm-content': { fontFamily: 'var(--font-mono)', padding: '0.4rem 0', caretColor: 'var(--text)' },
  '.cm-line': { padding: '0 0.25rem' },
  '.cm-scroller': { maxHeight: '6.5rem', lineHeight: '1.35' },
  '.cm-placeholder': { color: 'var(--text-muted)' },
  '.q-field': { color: 'var(--query-field)', fontWeight: '600' },
  '.q-operator, .q-minus': { color: 'var(--query-operator)', fontWeight: '600' },
  '.q-open, .q-close': { color: 'var(--query-operator)' },
  '.q-phrase': { color: 'var(--query-phrase)' },
  '.q-regex, .q-range, .q-compare': { color: 'var(--query-regex)' },
  '.q-broken': { textDecoration: 'underline dotted var(--bad)' },
  '.q-error': { textDecoration: 'underline wavy var(--bad)', textUnderlineOffset: '3px' },
  '.cm-tooltip': {
    border: '1px solid var(--line)',
    borderRadius: 'var(--radius)',
    backgroundColor: 'var(--surface-raised)',
    color: 'var(--text)',
    boxShadow: 'var(--shadow)',
  },
  '.cm-tooltip.cm-tooltip-autocomplete > ul': { fontFamily: 'var(--font-mono)', maxHeight: '16rem' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li': { padding: '0.2rem 0.5rem', display: 'flex', gap: '1rem' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]': {
    backgroundColor: 'var(--surface-active)',
    color: 'var(--text)',
  },
  '.cm-completionLabel': { flex: '1', overflow: 'hidden', textOverflow: 'ellipsis' },
  '.cm-completionDetail': { color: 'var(--text-muted)', fontStyle: 'normal', marginLeft: 'auto' },
  '.cm-completionMatchedText': { textDecoration: 'none', fontWeight: '700' },
})

/** Tab takes the first offer; Enter runs the query unless an offer was chosen with the arrow keys. */
function acceptBest(view: EditorView): boolean {
  if (completionStatus(view.state) !== 'active') return false
  if (selectedCompletionIndex(view.state) === null) moveCompletionSelection(true)(view)
  return acceptCompletion(view)
}

export interface EditorOptions {
  label: string
  describedBy: string
  hint: string
  completion: CompletionSource
  onChange: (text: string) => void
  /** With the text as it stands: what React was told of it may be a moment old. */
  onSubmit: (text: string) => void
}

export function extensions(options: EditorOptions): Extension[] {
  const nonce = document.querySelector<HTMLMetaElement>('meta[name="style-nonce"]')?.content
  return [
    nonce === undefined ? [] : EditorView.cspNonce.of(nonce),
    history(),
    oneLine,
    coloured,
    wrong,
    look,
    EditorView.lineWrapping,
    placeholder(options.hint),
    EditorView.contentAttributes.of({
      'aria-label': options.label,
      'aria-describedby': options.describedBy,
      'aria-multiline': 'false',
      enterkeyhint: 'search',
      spellcheck: 'false',
      autocapitalize: 'off',
    }),
    autocompletion({
      override: [options.completion],
      icons: false,
      selectOnOpen: false,
      activateOnCompletion: ({ type }) => type === 'field', // its values are offered next
      interactionDelay: 0,
      closeOnBlur: true,
      maxRenderedOptions: 100,
    }),
    keymap.of([
      { key: 'Tab', run: acceptBest },
      { key: 'ArrowDown', run: (view) => completionStatus(view.state) === null && startCompletion(view) },
      { key: 'Enter', run: (view) => (options.onSubmit(view.state.doc.toString()), true) },
      { key: 'Escape', run: (view) => (view.contentDOM.blur(), true) },
      ...historyKeymap,
      ...defaultKeymap,
    ]),
    EditorView.updateListener.of((update) => {
      if (update.docChanged) options.onChange(update.state.doc.toString())
    }),
  ]
}
