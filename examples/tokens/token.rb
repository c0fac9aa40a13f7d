# Tokens in Ruby (Rails, Sinatra, ...) with the standard library alone.

require 'json'
require 'openssl'

module Centrifugo
  SECRET = ENV.fetch('CENTRIFUGO_SECRET')       # token_hmac_secret_key

  def self.part(data)
    [data].pack('m0').tr('+/', '-_').delete('=')
  end

  def self.sign(claims)
    text = "#{part('{"alg":"HS256","typ":"JWT"}')}.#{part(claims.to_json)}"

    "#{text}.#{part(OpenSSL::HMAC.digest('SHA256', SECRET, text))}"
  end

  def self.connection_token(user, ttl: 600, **claims)
    sign({ sub: user.to_s, exp: Time.now.to_i + ttl, **claims })
  end

  def self.subscription_token(user, channel, ttl: 600, **claims)
    connection_token(user, ttl: ttl, channel: channel, **claims)
  end
end

if $PROGRAM_NAME == __FILE__
  user, channel = ARGV
  puts Centrifugo.connection_token(user, info: { name: 'Zoë' })
  puts Centrifugo.subscription_token(user, channel)
end
