# docs/directives.md and the command tables name the same directives.

use strict;
use warnings;

use Test::More;

sub slurp { local (@ARGV, $/) = @_; <> }

my $source = slurp('ngx_centrifugo_module.c');
my %table;

# HUB_TOKEN has a table of its own, of the names behind each prefix

my ($token) = $source =~ /^#define HUB_TOKEN(.*?[^\\])\n/ms;
my @token = $token =~ /prefix "([a-z_]+)"/g;

ok(@token > 10, 'the table of token directives was found');

for my $prefix ($source =~ /^\s+HUB_TOKEN\("([a-z_]+)"/gm) {
    $table{"$prefix$_"} = 1 for @token;
}

$source =~ s/^#define.*?[^\\]\n(?=\n|[^ ])//gms;
$source =~ s/^\s+HUB_TOKEN\(.*//gm;
$table{$1} = 1 while $source =~ /\{ ngx_string\("([a-z_0-9]+)"\)/g;
$table{$1} = 1 while $source
    =~ /^\s+(?:HUB_\w+|CHANNEL|CHANNEL_FLAG|LOCATION)\("([a-z_0-9]+)"/gm;
ok(keys %table > 25, 'the tables were found');

my $docs = slurp('docs/directives.md');
my %docs;

for my $section (split /^(?=### )/m, $docs) {
    next unless $section =~ /^### ([a-z_0-9]+)\n/;
    my $name = $1;

    $docs{$name} = 1;
    like($section, qr/\*\*$_\*\*/, "$name: $_")
        for qw(Syntax Default Context);
    like($section, qr/^```nginx\n.*\b$name\b.*^```/ms, "$name: an example");
}

is_deeply([sort keys %docs], [sort keys %table],
          'each directive is described, and no other');

done_testing();
