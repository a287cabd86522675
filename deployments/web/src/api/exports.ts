// The whole answer of a search as a file.
import { withParameters } from './http'

export const FORMATS = ['ndjson', 'csv', 'parquet'] as const
export type Format = (typeof FORMATS)[number]

export function exportPath(queryId: string, format: Format): string {
  return withParameters(`/search/v1/queries/${encodeURIComponent(queryId)}/export`, { format })
}
