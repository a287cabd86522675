// The whole answer of a search as a file.
import { withParameters } from './http'

export const FORMATS = ['ndjson', 'csv', 'parquet'] as const
export type Format = (typeof FORMATS)[number]

/** `columns`: of CSV, in place of all fields. */
export function exportPath(queryId: string, format: Format, columns: readonly string[] = []): string {
  const path = withParameters(`/search/v1/queries/${encodeURIComponent(queryId)}/export`, { format })
  return [path, ...columns.map((name) => `column=${encodeURIComponent(name)}`)].join('&')
}
