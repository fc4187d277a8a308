/** User agents in every form, each with its cleaned form. */

export const userAgentForms: [name: string, text: string, cleaned: string][] = [
  ['an ordinary text', 'Mozilla/5.0 (X11; Linux x86_64)', 'Mozilla/5.0 (X11; Linux x86_64)'],
  ['no text', '', ''],
  ['line breaks', 'curl/8\r\nSet-Cookie: a=b\n', 'curl/8Set-Cookie: a=b'],
  ['ANSI escapes', '\u001b[31mred\u001b[0m\u009b2J', '[31mred[0m2J'],
  ['C0, DEL, C1', `a${'\u0000\u0007\t\u001f\u007f\u0080\u0085\u009f'}b`, 'ab'],
  ['line separators', 'a\u2028b\u2029c', 'abc'],
  ['control characters alone', '\u0000\u001b\u007f\u009f\u2028', ''],
  ['other scripts', 'Браузер 浏览器 متصفح', 'Браузер 浏览器 متصفح'],
  ['a half of a surrogate pair', 'a\ud83db\ude00c', 'a\ufffdb\ufffdc'],
  ['10,000 characters', 'x'.repeat(10_000), 'x'.repeat(256)],
  ['10,000 control characters before the text', `${'\u0001'.repeat(10_000)}x`, 'x'],
  ['an emoji that ends at the cut', `${'x'.repeat(254)}😀y`, `${'x'.repeat(254)}😀`],
  ['an emoji across the cut', `${'x'.repeat(255)}😀y`, 'x'.repeat(255)],
  ['emojis alone', '😀'.repeat(5000), '😀'.repeat(128)]
]
