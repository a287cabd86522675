// The keys that work, and the query language on one page.
import { Dialog } from '../../ui/Dialog'
import styles from './HelpDialog.module.css'

const KEYS = [
  ['/', 'Write the query'],
  ['Enter', 'Run it; on a row: open or close it'],
  ['↓ ↑, j k', 'Next, previous row'],
  ['Esc', 'Stop the search; close what is open'],
  ['r', 'Run again'],
  ['t', 'Time range'],
  ['[ ]', 'Earlier, later by one range'],
  ['o', 'Newest or oldest first'],
  ['w', 'Wrap long messages'],
  ['u', 'Local time or UTC'],
  ['f', 'Fields beside the rows'],
  ['e', 'Explain: what this search would read'],
  ['p, s', 'Live tail: pause and go on, stop and start'],
  ['?', 'This page'],
] as const

const LANGUAGE = [
  ['timeout', 'the message contains it, in any case; * inside is a wildcard'],
  ['"Connection reset"', 'exactly this text'],
  ['/user=\\d+7/ /x/i', 'a regular expression (RE2)'],
  ['level:ERROR service:"api gw"', 'fields'],
  ['service:api* host:/web-\\d+/ region:eu-1', 'wildcard, regex, attribute'],
  ['"user agent":curl', 'a field whose name holds space or signs'],
  ['severity_number:>=17 ms>500 ms:[100 TO 500]', 'numbers'],
  ['trace_id:*', 'the field is there'],
  ['a b, a OR b, NOT a, -a, ( )', 'combinations'],
] as const

export function HelpDialog({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keys and query language" onClose={onClose}>
      <h3>Keys</h3>
      <dl className={styles.list}>
        {KEYS.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p>
        For programs: <a href="/push/docs">pushing</a> and <a href="/search/docs">searching</a> over HTTP.
      </p>
      <h3>Query language</h3>
      <dl className={styles.list}>
        {LANGUAGE.map(([form, what]) => (
          <div key={form}>
            <dt>
              <code>{form}</code>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  )
}
