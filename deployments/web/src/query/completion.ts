// What can come next in a query: fields, values of a field, earlier queries.
import type { Completion, CompletionContext, CompletionResult, CompletionSource } from '@codemirror/autocomplete'

import { pipeAt } from './pipe'
import { wantedInStage } from './stages'
import { attributeField, COLUMNS, fieldTerm, written } from './terms'
import { tokens } from './tokens'

/** Where names and values come from. Both may fail: then there is nothing to choose from. */
export interface Lookup {
  fields: () => Promise<{ name: string; kind: 'column' | 'attribute'; count: number }[]>
  values: (field: string, prefix: string) => Promise<{ value: string; count: number }[]>
  history: () => string[]
}

const NUMERIC = new Set(['severity_number', '_ess.vnode', '_ess.offset', '_ess.row'])
/** Columns whose values are places or moments: nobody chooses those from a list. */
const UNLISTED = new Set(['message', 'timestamp', ...COLUMNS.filter((name) => name.startsWith('_ess.'))])
const COUNT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })

export function completionSource(lookup: Lookup): CompletionSource {
  return async (context) => {
    const text = context.state.doc.toString()
    if (text.trim() === '') return context.explicit ? history(lookup) : null
    const before = context.state.sliceDoc(0, context.pos)
    const stage = wantedInStage(before)
    if (stage) return stage.words === null ? fields(lookup, stage.from, context, '') : words(stage.from, stage.words)
    if (pipeAt(before) !== null) return null
    const last = tokens(before).at(-1)
    const touching = last?.to === context.pos ? last : undefined
    if (touching?.kind === 'field') return values(lookup, touching.field ?? '', touching.to, '', context)
    if (touching?.field !== undefined && (touching.kind === 'word' || touching.kind === 'broken')) {
      return values(lookup, touching.field, touching.from, touching.text, context)
    }
    // A quote that is open may become a name, too.
    if (touching?.kind === 'word' || touching?.kind === 'broken') return fields(lookup, touching.from, context)
    const between = touching === undefined || touching.kind === 'open' || touching.kind === 'minus'
    return context.explicit && between ? fields(lookup, context.pos, context) : null
  }
}

function history(lookup: Lookup): CompletionResult | null {
  const options = lookup.history().map((label): Completion => ({ label, type: 'history' }))
  return options.length === 0 ? null : { from: 0, options, filter: false }
}

function words(from: number, labels: string[]): CompletionResult {
  return { from, options: labels.map((label): Completion => ({ label, type: 'keyword' })), validFor: /^[\w.]*$/ }
}

async function fields(
  lookup: Lookup,
  from: number,
  context: CompletionContext,
  behind = ':',
): Promise<CompletionResult | null> {
  const found = await lookup.fields()
  if (context.aborted) return null
  const counts = new Map<string, number>(COLUMNS.map((name) => [name, 0]))
  for (const { name, kind, count } of found) {
    const field = kind === 'column' ? name : attributeField(name)
    if (field !== null) counts.set(field, count)
  }
  const options = [...counts].map(([name, count]): Completion => ({
    label: `${written(name)}${behind}`,
    type: 'field',
    boost: Math.min(99, Math.log2(count + 1)),
    ...(count > 0 ? { detail: COUNT.format(count) } : {}),
  }))
  return { from, options, validFor: /^"?[\p{L}\p{M}\p{N}_.\-/@ ]*$/u }
}

async function values(
  lookup: Lookup,
  field: string,
  from: number,
  typed: string,
  context: CompletionContext,
): Promise<CompletionResult | null> {
  if (UNLISTED.has(field)) return null
  const prefix = typed.replace(/^"/, '')
  if (/[*<>[{/]/.test(prefix)) return null // a pattern or a comparison: its writer knows what follows
  const found = await lookup.values(field, prefix)
  if (context.aborted || found.length === 0) return null
  const options = found.map(({ value, count }): Completion => {
    const term = NUMERIC.has(field) ? value : fieldTerm('x', value).slice(2)
    return { label: value, apply: term, type: 'value', detail: COUNT.format(count) }
  })
  return { from, options, filter: false }
}
