// Server-sent events over fetch: EventSource cannot send the key.
import { createParser, type EventSourceMessage } from 'eventsource-parser'

import { send } from './http'

export type ServerEvent = EventSourceMessage

/**
 * Follow an address until it ends, handing over what each network read brought, in one call. Raises Problem, AbortError,
 * and TypeError when the connection breaks.
 */
export async function readStream(
  path: string,
  onEvents: (events: ServerEvent[]) => void,
  signal: AbortSignal,
): Promise<void> {
  const response = await send(path, { signal, accept: 'text/event-stream' })
  if (response.body === null) return
  let arrived: ServerEvent[] = []
  const parser = createParser({ onEvent: (event) => arrived.push(event) })
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    parser.feed(value)
    if (arrived.length > 0) {
      const events = arrived
      arrived = []
      onEvents(events)
    }
  }
}
