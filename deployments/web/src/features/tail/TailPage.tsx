// Events as they arrive.
export default function TailPage() {
  return <h1>Live tail</h1>
}
