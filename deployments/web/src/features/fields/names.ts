// Which fields the panel lists, and how the interface and the query language name them.
import type { FieldCount } from '../../api/types'
import { attributeField, fieldTerm, negated } from '../../query/terms'

/** Values that are as many as events: nobody chooses from them. */
const UNLISTED = new Set(['message', 'timestamp', '_ess.observed_timestamp'])

export interface NamedField extends FieldCount {
  /** How `/fields/{name}/values` and columns of rows name it. */
  shown: string
  /** How a query names it; null when the language cannot. */
  queryField: string | null
  hasValues: boolean
}

/** Columns before attributes, each with the most frequent first; `wanted` is part of the name, in any case. */
export function namedFields(fields: readonly FieldCount[], wanted: string): NamedField[] {
  const part = wanted.trim().toLowerCase()
  return fields
    .filter(({ name }) => name.toLowerCase().includes(part))
    .map((field) => named(field))
    .sort((one, other) => order(one) - order(other) || other.count - one.count || (one.name < other.name ? -1 : 1))
}

function named(field: FieldCount): NamedField {
  const { name, kind } = field
  if (kind === 'column') return { ...field, shown: name, queryField: name, hasValues: !UNLISTED.has(name) }
  const queryField = attributeField(name)
  return { ...field, shown: queryField ?? `attributes.${name}`, queryField, hasValues: true }
}

function order({ kind }: FieldCount): number {
  return kind === 'column' ? 0 : 1
}

/** The terms that narrow a query to a value, or to events without it; null where the language cannot name the field. */
export function valueTerms(field: NamedField, value: string): { only: string; without: string } | null {
  if (field.queryField === null) return null
  const only = fieldTerm(field.queryField, value)
  return { only, without: negated(only) }
}

/** `12 %`, `<1 %`: of `rows`, which may be a lower bound. */
export function share(count: number, rows: number): string {
  if (rows === 0) return ''
  const percent = (100 * count) / rows
  return percent > 0 && percent < 1 ? '<1 %' : `${Math.min(100, Math.round(percent))} %`
}
