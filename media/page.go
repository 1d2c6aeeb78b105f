package media

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	"golang.org/x/net/html/charset"
)

// page is what is seen in a page that matters for a preview.
type page struct {
	og          map[string]string // OpenGraph members, the first of each name
	title       string
	description string
	text        string // the first paragraph
	picture     string // of other kinds of markup
	oEmbed      string // where there is more to know
}

const (
	maxMembers = 40
	maxMember  = 64   // bytes of a name
	maxValue   = 1000 // bytes of a value
)

// readPage reads a page, or its beginning where it is longer than limit.
func readPage(body io.Reader, contentType string, limit int64) (*page, error) {
	text, err := charset.NewReader(io.LimitReader(body, limit), contentType)
	if err != nil {
		return nil, fmt.Errorf("read a page: %w", err)
	}
	p := &page{og: map[string]string{}}
	z := html.NewTokenizer(text)
	z.SetMaxBuf(int(limit))
	var into *string // what text is gathered into
	for {
		switch z.Next() {
		case html.ErrorToken:
			if err := z.Err(); err != io.EOF {
				return nil, fmt.Errorf("read a page: %w", err)
			}
			return p, nil
		case html.StartTagToken, html.SelfClosingTagToken:
			into = p.open(z, into)
		case html.EndTagToken:
			if name, _ := z.TagName(); isBlock(atom.Lookup(name)) {
				into = nil
			}
		case html.TextToken:
			if into != nil && len(*into) < 4*maxValue {
				*into += string(z.Text())
			}
		}
	}
}

func isBlock(a atom.Atom) bool {
	return a == atom.Title || a == atom.P || a == atom.Script || a == atom.Style
}

// open sees a tag, and says into what the text after it goes.
func (p *page) open(z *html.Tokenizer, into *string) *string {
	name, more := z.TagName()
	tag := atom.Lookup(name)
	switch tag {
	case atom.Meta, atom.Link:
		attrs := map[string]string{}
		for more && len(attrs) < 20 {
			var key, value []byte
			key, value, more = z.TagAttr()
			attrs[string(key)] = string(value)
		}
		if tag == atom.Meta {
			p.meta(attrs)
		} else {
			p.link(attrs)
		}
	case atom.Title:
		if p.title == "" {
			return &p.title
		}
	case atom.P:
		if strings.TrimSpace(p.text) == "" {
			p.text = ""
			return &p.text
		}
		return nil
	case atom.Script, atom.Style:
		return nil
	}
	return into
}

func (p *page) meta(attrs map[string]string) {
	name := strings.ToLower(attrs["property"])
	if name == "" {
		name = strings.ToLower(attrs["name"])
	}
	value := clip(attrs["content"])
	switch {
	case value == "":
	case strings.HasPrefix(name, "og:"):
		if _, known := p.og[name]; !known && len(name) <= maxMember && len(p.og) < maxMembers {
			p.og[name] = value
		}
	case name == "description", name == "twitter:description":
		set(&p.description, value)
	case name == "twitter:title":
		set(&p.title, value)
	case name == "twitter:image", name == "twitter:image:src":
		set(&p.picture, value)
	}
}

func (p *page) link(attrs map[string]string) {
	rel := " " + strings.ToLower(attrs["rel"]) + " "
	switch {
	case strings.Contains(rel, " alternate ") && strings.EqualFold(attrs["type"], "application/json+oembed"):
		set(&p.oEmbed, attrs["href"])
	case strings.Contains(rel, " image_src "):
		set(&p.picture, attrs["href"])
	}
}

func set(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

// clip makes text fit for showing: one line, of a bounded length.
func clip(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")), " ")
	if len(s) <= maxValue {
		return s
	}
	end := maxValue
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// image is where the page's image is.
func (p *page) image() string {
	for _, name := range []string{"og:image:secure_url", "og:image:url", "og:image"} {
		if p.og[name] != "" {
			return p.og[name]
		}
	}
	return p.picture
}

// seen makes the preview. What the page says of its image is left out: what is kept of it is told instead.
//
// Spec: GET /_matrix/client/v1/media/preview_url
func (p *page) seen() map[string]any {
	out := map[string]any{}
	for name, value := range p.og {
		if name != "og:image" && (!strings.HasPrefix(name, "og:image:") || name == "og:image:alt") {
			out[name] = value
		}
	}
	for _, fallback := range []struct{ name, value string }{
		{"og:title", p.title}, {"og:description", p.description}, {"og:description", p.text},
	} {
		if value := clip(fallback.value); out[fallback.name] == nil && value != "" {
			out[fallback.name] = value
		}
	}
	return out
}

// oEmbed is what an oEmbed provider tells of a page.
//
// Spec: oEmbed 1.0, 2.3.4 "Response parameters".
type oEmbed struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Author    string `json:"author_name"`
	Provider  string `json:"provider_name"`
	Thumbnail string `json:"thumbnail_url"`
	URL       string `json:"url"`
}

// askOEmbed fills in what a page does not say by itself, where it names somebody who knows.
func (r *Repository) askOEmbed(ctx context.Context, at *url.URL, p *page) {
	if p.oEmbed == "" || len(p.oEmbed) > maxURL || p.og["og:title"] != "" && p.image() != "" {
		return
	}
	u, err := at.Parse(p.oEmbed)
	if err != nil {
		return
	}
	resp, err := r.previewer.get(ctx, u, "application/json")
	if err != nil {
		r.log.Debug("there is no oEmbed", "url", u.String(), "error", err)
		return
	}
	defer resp.Body.Close()
	var told oEmbed
	if err := json.NewDecoder(io.LimitReader(resp.Body, int64(r.c.Previews.MaxPage))).Decode(&told); err != nil {
		r.log.Debug("there is no oEmbed", "url", u.String(), "error", err)
		return
	}
	p.add(told)
}

func (p *page) add(told oEmbed) {
	if told.Type == "photo" {
		told.Thumbnail = told.URL
	}
	for name, value := range map[string]string{"og:title": told.Title, "og:site_name": told.Provider, "og:article:author": told.Author} {
		if value = clip(value); p.og[name] == "" && value != "" {
			p.og[name] = value
		}
	}
	if p.image() == "" {
		p.picture = told.Thumbnail
	}
}
