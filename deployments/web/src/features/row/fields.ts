// The fields of an event as names and texts, and how the query language asks for them.
import type { LogEvent } from '../../api/types'
import { attributeField } from '../../query/terms'

export interface FieldValue {
  name: string
  value: string | null
  /** How a query names it; null when the language cannot. */
  queryField: string | null
}

const SHOWN_COLUMNS = [
  'timestamp',
  'observed_timestamp',
  'level',
  'severity_number',
  'service',
  'host',
  'trace_id',
  'span_id',
  'id',
] as const
/** Where the event lies: below everything else. */
const PLACE_COLUMNS = ['log_id', 'vnode', 'offset', 'row'] as const
/** Moments are asked for by the time range, and places hold one event. */
const NOT_ASKED = new Set<string>(['timestamp', 'observed_timestamp'])

/** The value of a column or an attribute, as a row shows it. */
export function valueOf(event: LogEvent, name: string): string | null {
  const columns: readonly string[] = [...SHOWN_COLUMNS, ...PLACE_COLUMNS]
  if (columns.includes(name)) {
    const value = event[name as (typeof SHOWN_COLUMNS)[number] | (typeof PLACE_COLUMNS)[number]]
    return value === null ? null : String(value)
  }
  return event.attributes[name.replace(/^attributes\./, '')] ?? event.attributes[name] ?? null
}

/** All fields but the message: columns that are there, attributes by name, then the place. */
export function fieldsOf(event: LogEvent): FieldValue[] {
  const column = (name: (typeof SHOWN_COLUMNS)[number] | (typeof PLACE_COLUMNS)[number]): FieldValue[] => {
    const value = event[name]
    return value === null ? [] : [{ name, value: String(value), queryField: NOT_ASKED.has(name) ? null : name }]
  }
  const attributes = Object.entries(event.attributes)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([key, value]): FieldValue => ({ name: attributeName(key), value, queryField: attributeField(key) }))
  return [...SHOWN_COLUMNS.flatMap(column), ...attributes, ...PLACE_COLUMNS.flatMap(column)]
}

/** An attribute that is named like a column keeps its prefix. */
function attributeName(key: string): string {
  return attributeField(key) ?? key
}
