package search

import "testing"

func BenchmarkMatch(b *testing.B) {
	for name, text := range map[string]string{
		"ascii": "The quick brown fox jumps over the lazy dog, and the release of the new server goes on",
		"cjk":   "今晚我们去北京的那家火锅店吃饭吧，會議改到星期三下午兩點，請大家準時參加",
		"mixed": "Straßenbahnhaltestelle am Café Müller, Встречаемся завтра у метро «Пушкинская», ещё раз напомню",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			m := newMatcher("fox 會議")
			for b.Loop() {
				m.match(text)
			}
		})
	}
}
