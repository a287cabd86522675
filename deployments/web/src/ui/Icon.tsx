// Drawn here, so that no icon font or library is loaded. Icons are decoration: the control that holds one has a name.
const PATHS = {
  search: 'M7 12a5 5 0 1 0 0-10 5 5 0 0 0 0 10Zm3.6-1.4L14 14',
  pause: 'M5.5 4v8m5-8v8',
  stop: 'M4.5 4.5h7v7h-7z',
  clock: 'M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12Zm0-9.5V8l2.5 1.5',
  history: 'M2.5 8A5.5 5.5 0 1 0 4.3 4L2.5 5.7m0-3.2v3.2h3.2M8 5v3l2 1.3',
  down: 'm4 6 4 4 4-4',
  right: 'm6 4 4 4-4 4',
  left: 'm10 4-4 4 4 4',
  columns: 'M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10',
  wrap: 'M2.5 4h11M2.5 8h9a2 2 0 0 1 0 4.2H8.5m1.6-1.7-1.7 1.7 1.7 1.6M2.5 12h3',
  sort: 'M5 3v10m0 0-2.2-2.2M5 13l2.2-2.2M9 4h5M9 8h4M9 12h2.5',
  key: 'M6.2 9.8a3.2 3.2 0 1 1 0-4.5 3.2 3.2 0 0 1 0 4.5Zm.9-2.3H14v2.5m-2.5-2.5v2',
  sun: 'M8 10.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6ZM8 1.5V3m0 10v1.5M1.5 8H3m10 0h1.5M3.4 3.4l1 1m7.2 7.2 1 1m0-9.2-1 1m-7.2 7.2-1 1',
  moon: 'M13.2 9.6A5.6 5.6 0 0 1 6.4 2.8a5.6 5.6 0 1 0 6.8 6.8Z',
  auto: 'M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12Zm0-12v12M8 4.5h4M8 8h6M8 11.5h4',
  close: 'm4 4 8 8m0-8-8 8',
  copy: 'M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3',
  plus: 'M8 3.5v9M3.5 8h9',
  minus: 'M3.5 8h9',
  check: 'm3 8.5 3.2 3L13 4.5',
  warning: 'M8 2.2 14.5 13.5h-13zM8 6.5v3.2m0 1.7v.4',
  help: 'M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM6.2 6.3A1.8 1.8 0 1 1 8.6 8c-.4.2-.6.5-.6 1v.3m0 1.7v.3',
  around: 'M2.5 3.5h11M2.5 12.5h11M2.5 8h11M8 1.2v1.6m0 10.4v1.6',
  download: 'M8 2.5v7.5m0 0L5 7m3 3 3-3M3 13.2h10',
  list: 'M2.5 4h1m2 0h8m-11 4h1m2 0h8m-11 4h1m2 0h8',
  refresh: 'M13.5 8A5.5 5.5 0 1 1 11.7 4l1.8 1.7m0-3.2v3.2h-3.2',
} as const

export type IconName = keyof typeof PATHS

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.4"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      <path d={PATHS[name]} />
    </svg>
  )
}
