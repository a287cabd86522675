// When a search is large enough to be thought over.
import type { Explanation } from '../../api/explain'

/** 10 GiB: minutes on one machine, or about a cent of Lambda and thousands of requests to the store. */
export const LARGE_BYTES = 10 * 2 ** 30

/** Whether a plan is shown before it is run. */
export function isLarge(plan: Pick<Explanation, 'bytes_to_read'>): boolean {
  return plan.bytes_to_read > LARGE_BYTES
}
